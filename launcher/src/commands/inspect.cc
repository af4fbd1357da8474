// muster inspect
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "announcement.h"
#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/sibling_program.h"
#include "commands/store_commands.h"
#include "commands/tensor_tree.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/safetensors.h"

namespace muster::launcher {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Manifest;
using checkpoint::SafetensorsFile;
using checkpoint::StatisticsSum;
using checkpoint::TensorRange;

constexpr std::int64_t kPieceBytes = 1 << 20;

Json tensors_json(const std::vector<TensorFacts>& tensors) {
  Json json = Json::array();
  for (const TensorFacts& tensor : tensors) json.push_back(to_json(tensor));
  return json;
}

std::int64_t bytes_of(const std::vector<TensorFacts>& tensors) {
  std::int64_t bytes = 0;
  for (const TensorFacts& tensor : tensors) bytes += tensor.bytes;
  return bytes;
}

void print_tensors(const std::vector<TensorFacts>& tensors) {
  std::printf("tensors     %zu, %lld bytes\n%s", tensors.size(),
              static_cast<long long>(bytes_of(tensors)), tensor_tree_text(tensors).c_str());
}

// --- A checkpoint: one pass gives hash and statistics.

struct CheckpointFacts {
  std::string state_hash;
  std::vector<TensorFacts> tensors;
};

CheckpointFacts facts_of(const Checkpoint& checkpoint) {
  std::map<std::string, StatisticsSum> sums;
  CheckpointFacts facts;
  facts.state_hash = checkpoint.state_hash([&](const TensorRange& range, const void* data) {
    sums[range.name].add(range.dtype, data, range.numel());
  });
  for (const auto& [name, entry] : checkpoint.manifest().tensors) {
    facts.tensors.push_back({name, entry.dtype, entry.shape, entry.bytes(), sums[name].result()});
  }
  return facts;
}

Json checkpoint_json(const Checkpoint& checkpoint, const CheckpointFacts& facts) {
  const Manifest& manifest = checkpoint.manifest();
  Json files = Json::array();
  for (const auto& file : manifest.files) {
    files.push_back({{"file", file.file}, {"bytes", file.bytes}});
  }
  return {{"path", checkpoint.directory().string()},
          {"step", manifest.step},
          {"state_hash", facts.state_hash},
          {"muster_version", manifest.muster_version},
          {"world_size", manifest.world_size},
          {"generation", manifest.generation},
          {"tensor_bytes", manifest.tensor_bytes()},
          {"tensors", tensors_json(facts.tensors)},
          {"files", files},
          {"run_state", manifest.run_state}};
}

void print_checkpoint(const Checkpoint& checkpoint, const CheckpointFacts& facts) {
  const Manifest& manifest = checkpoint.manifest();
  std::printf("checkpoint  %s\n", checkpoint.directory().c_str());
  std::printf("step        %lld\n", static_cast<long long>(manifest.step));
  std::printf("state hash  %s\n", facts.state_hash.c_str());
  std::printf("written by  muster %s, %s, generation %d\n", manifest.muster_version.c_str(),
              ranks_text(manifest.world_size).c_str(), manifest.generation);
  print_tensors(facts.tensors);
  std::printf("files       %zu\n", manifest.files.size());
  for (const auto& file : manifest.files) {
    std::printf("  %-48s %12lld bytes\n", file.file.c_str(), static_cast<long long>(file.bytes));
  }
  if (!manifest.run_state.is_object()) return;
  for (const auto& [part, values] : manifest.run_state.items()) {
    std::printf("%-11s %s\n", part.c_str(), values.dump().c_str());
  }
}

// --- A safetensors file.

std::vector<TensorFacts> facts_of(const SafetensorsFile& file) {
  std::vector<std::byte> piece(kPieceBytes);
  std::vector<TensorFacts> tensors;
  for (const auto& [name, entry] : file.tensors()) {
    StatisticsSum sum;
    TensorRange range = file.whole(name);
    const std::int64_t numel = range.end;
    for (std::int64_t at = 0; at < numel; at = range.end) {
      range.begin = at;
      range.end = std::min(numel, at + kPieceBytes / dtype_bytes(entry.dtype));
      file.read(range, piece.data());
      sum.add(entry.dtype, piece.data(), range.numel());
    }
    tensors.push_back({name, entry.dtype, entry.shape, entry.bytes, sum.result()});
  }
  return tensors;
}

void inspect_file(const SafetensorsFile& file, bool as_json) {
  const std::vector<TensorFacts> tensors = facts_of(file);
  if (as_json) {
    const Json json = {{"path", file.path().string()},
                       {"tensor_bytes", bytes_of(tensors)},
                       {"tensors", tensors_json(tensors)},
                       {"metadata", Json(file.metadata())}};
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  std::printf("file        %s (safetensors)\n", file.path().c_str());
  print_tensors(tensors);
  for (const auto& [key, value] : file.metadata())
    std::printf("metadata    %s: %s\n", key.c_str(), value.c_str());
}

}  // namespace

int inspect_in(Env& env, const Words& words) {
  const ParsedWords parsed = take_words(words, "inspect", {"--json"}, 1, 1);
  const bool as_json = parsed.switches.contains("--json");
  const std::string& operand = parsed.operands[0];
  if (is_safetensors_path(operand)) {
    inspect_file(SafetensorsFile::open(operand, env), as_json);
    return 0;
  }
  return with_newest_at(operand, "inspect", env, [&](const Checkpoint& checkpoint) {
    const CheckpointFacts facts = facts_of(checkpoint);
    if (as_json) {
      std::printf("%s\n", checkpoint_json(checkpoint, facts).dump(2).c_str());
    } else {
      print_checkpoint(checkpoint, facts);
    }
    return 0;
  });
}

int inspect_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(inspect_command_help().c_str(), stdout);
    return 0;
  }
  leave_stores_to_sibling("inspect", words);
  return inspect_in(*make_system_env(), words);
}

std::string inspect_command_help() {
  return "usage: muster inspect DIR|FILE.safetensors [--json]\n"
         "Says what is in a checkpoint: tensors with shape, type, bytes, minimum, maximum, mean, "
         "standard deviation\n"
         "and how many elements are not finite; who wrote it, the run's state, and the state hash, "
         "which is equal\n"
         "for equal states whatever world size wrote them. DIR is a checkpoint, or a directory of "
         "them: then the\n"
         "newest. Of a safetensors file: its tensors and metadata.\n"
         "  --json   as one JSON object\n";
}

}  // namespace muster::launcher
