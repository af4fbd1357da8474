// muster inspect
#include <cstdio>
#include <string>

#include "announcement.h"
#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::launcher {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Manifest;
using checkpoint::TensorEntry;

Json tensor_json(const std::string& name, const TensorEntry& entry) {
  return {{"name", name},
          {"dtype", dtype_name(entry.dtype)},
          {"shape", entry.shape},
          {"bytes", entry.bytes()}};
}

Json checkpoint_json(const Checkpoint& checkpoint) {
  const Manifest& manifest = checkpoint.manifest();
  Json tensors = Json::array();
  for (const auto& [name, entry] : manifest.tensors) tensors.push_back(tensor_json(name, entry));
  Json files = Json::array();
  for (const auto& file : manifest.files) {
    files.push_back({{"file", file.file}, {"bytes", file.bytes}});
  }
  return {{"path", checkpoint.directory().string()},
          {"step", manifest.step},
          {"state_hash", checkpoint.state_hash()},
          {"world_size", manifest.world_size},
          {"generation", manifest.generation},
          {"tensor_bytes", manifest.tensor_bytes()},
          {"tensors", tensors},
          {"files", files},
          {"run_state", manifest.run_state}};
}

std::string shape_text(const Json& shape) {
  std::string text;
  for (const auto& size : shape) text += (text.empty() ? "" : ", ") + size.dump();
  return "[" + text + "]";
}

void print_text(const Json& json) {
  const auto text = [&](const char* key) { return json[key].get<std::string>(); };
  const auto number = [&](const char* key) { return json[key].get<long long>(); };
  std::printf("checkpoint  %s\n", text("path").c_str());
  std::printf("step        %lld\n", number("step"));
  std::printf("state hash  %s\n", text("state_hash").c_str());
  std::printf("written by  %s, generation %lld\n",
              ranks_text(static_cast<int>(number("world_size"))).c_str(), number("generation"));
  std::printf("tensors     %zu, %lld bytes\n", json["tensors"].size(), number("tensor_bytes"));
  for (const auto& tensor : json["tensors"]) {
    std::printf("  %-48s %-9s %-20s %12lld bytes\n", tensor["name"].get<std::string>().c_str(),
                tensor["dtype"].get<std::string>().c_str(), shape_text(tensor["shape"]).c_str(),
                tensor["bytes"].get<long long>());
  }
  std::printf("files       %zu\n", json["files"].size());
  for (const auto& file : json["files"]) {
    std::printf("  %-48s %12lld bytes\n", file["file"].get<std::string>().c_str(),
                file["bytes"].get<long long>());
  }
  if (!json["run_state"].is_object()) return;
  for (const auto& [part, values] : json["run_state"].items()) {
    std::printf("%-11s %s\n", part.c_str(), values.dump().c_str());
  }
}

}  // namespace

int inspect_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(inspect_command_help().c_str(), stdout);
    return 0;
  }
  const ParsedWords parsed = take_words(words, "inspect", {"--json"}, 1, 1);
  const auto env = make_system_env();
  const Json json = checkpoint_json(open_newest_at(parsed.operands[0], "inspect", *env));
  if (parsed.switches.contains("--json")) {
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    print_text(json);
  }
  return 0;
}

std::string inspect_command_help() {
  return "usage: muster inspect DIR [--json]\n"
         "Says what is in a checkpoint: tensors, shapes, types, bytes, who wrote it, the run's "
         "state, and the\n"
         "state hash, which is equal for equal states whatever world size wrote them. DIR is a "
         "checkpoint, or\n"
         "a directory of them: then the newest.\n"
         "  --json   as one JSON object\n";
}

}  // namespace muster::launcher
