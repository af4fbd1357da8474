// muster model
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/sibling_program.h"
#include "commands/store_commands.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/base/options.h"
#include "muster/checkpoint/model_registry.h"

namespace muster::launcher {
namespace {

using checkpoint::ModelRegistry;
using checkpoint::ModelVersion;
using checkpoint::Registration;

std::string registry_variable() {
  const char* variable = std::getenv("MUSTER_REGISTRY");
  return variable == nullptr ? "" : variable;
}

ModelRegistry registry_of(const ParsedWords& parsed, const ModelPlaces& places) {
  if (const auto flag = parsed.values.find("--registry"); flag != parsed.values.end())
    return places.registry(flag->second);
  if (const std::string variable = registry_variable(); !variable.empty())
    return places.registry(variable);
  throw ConfigError(
      "muster model: expected the registry's directory, found none; give --registry DIR or set "
      "MUSTER_REGISTRY");
}

double metric_value(const std::string& name, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw ConfigError("muster model: --metrics: expected a finite number for '" + name +
                      "', found '" + text + "'");
  }
  return value;
}

/// "accuracy=0.91,loss=0.3"
void add_metrics(const std::string& text, std::map<std::string, double>& metrics) {
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string one = text.substr(begin, end - begin);
    const std::size_t equals = one.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw ConfigError("muster model: --metrics: expected NAME=VALUE,NAME=VALUE, found '" + one +
                        "'");
    }
    const std::string name = one.substr(0, equals);
    metrics[name] = metric_value(name, one.substr(equals + 1));
    begin = end + 1;
  }
}

/// What the run's last evaluation said, as far as it is numbers.
std::map<std::string, double> metrics_in(const Json& run_state) {
  std::map<std::string, double> metrics;
  if (!run_state.is_object() || !run_state.contains("metrics")) return metrics;
  for (const auto& [name, value] : run_state.at("metrics").items()) {
    if (value.is_number() && std::isfinite(value.get<double>()))
      metrics[name] = value.get<double>();
  }
  return metrics;
}

/// NAME, NAME@VERSION or NAME@STAGE.
ModelVersion find(const ModelRegistry& registry, const std::string& text) {
  const std::size_t at = text.find('@');
  if (at == std::string::npos) return registry.get(text);
  if (at + 1 == text.size()) {
    throw ConfigError("muster model: expected NAME@VERSION or NAME@STAGE, found '" + text + "'");
  }
  return registry.get(text.substr(0, at), text.substr(at + 1));
}

std::string text_of(const ModelVersion& version) {
  return version.name + "@" + std::to_string(version.version);
}

bool is_same_place(const std::filesystem::path& one, const std::string& other) {
  if (is_store_url(other)) return one == other;
  std::error_code ignored;
  return std::filesystem::equivalent(one, other, ignored);
}

/// The version of the registry that the checkpoint's run began with (--init-from), or "".
std::string parent_in(const ModelRegistry& registry, const Json& run_state) {
  if (!run_state.is_object() || !run_state.contains("init_from")) return "";
  const Json& path = run_state.at("init_from");
  if (!path.is_string()) return "";
  for (const std::string& name : registry.names()) {
    for (const ModelVersion& version : registry.versions(name)) {
      if (is_same_place(version.checkpoint(), path.get<std::string>())) return text_of(version);
    }
  }
  return "";
}

Json to_json(const ModelVersion& version) {
  return {{"model", version.name},
          {"version", version.version},
          {"stages", version.stages},
          {"digest", version.digest},
          {"run", version.registration.run},
          {"step", version.step},
          {"parent", version.registration.parent},
          {"metrics", Json(version.registration.metrics)},
          {"registered_at", version.registered_at},
          {"checkpoint", version.checkpoint().string()}};
}

void print(const ModelVersion& version) {
  std::string stages, metrics;
  for (const std::string& stage : version.stages) stages += (stages.empty() ? "" : ",") + stage;
  for (const auto& [name, value] : version.registration.metrics) {
    char text[48];
    std::snprintf(text, sizeof(text), "=%.6g", value);
    metrics += (metrics.empty() ? "" : " ") + name + text;
  }
  std::printf("%s@%d  %s  %s  run %s step %lld%s%s  %s%s%s\n", version.name.c_str(),
              version.version, version.registered_at.c_str(), version.digest.c_str(),
              version.registration.run.c_str(), static_cast<long long>(version.step),
              version.registration.parent.empty() ? "" : " from ",
              version.registration.parent.c_str(), metrics.c_str(), stages.empty() ? "" : "  in ",
              stages.c_str());
}

Registration registration_of(const checkpoint::Checkpoint& source, const ModelRegistry& registry,
                             const ParsedWords& parsed) {
  Registration registration;
  const auto run = parsed.values.find("--run");
  registration.run =
      run != parsed.values.end()
          ? run->second
          : std::filesystem::absolute(source.directory()).parent_path().filename().string();
  registration.metrics = metrics_in(source.manifest().run_state);
  if (const auto metrics = parsed.values.find("--metrics"); metrics != parsed.values.end())
    add_metrics(metrics->second, registration.metrics);
  if (const auto parent = parsed.values.find("--parent"); parent != parsed.values.end()) {
    registration.parent = text_of(find(registry, parent->second));
  } else {
    registration.parent = parent_in(registry, source.manifest().run_state);
  }
  return registration;
}

int register_model(const ModelPlaces& places, const Words& words) {
  const ParsedWords parsed = take_words(words, "model", {"--json"}, 2, 2,
                                        {"--registry", "--metrics", "--run", "--parent"});
  const ModelRegistry registry = registry_of(parsed, places);
  Env& from = places.env(parsed.operands[0]);
  return with_newest_at(
      parsed.operands[0], "model", from, [&](const checkpoint::Checkpoint& source) {
        const ModelVersion added = registry.add(source, from, parsed.operands[1],
                                                registration_of(source, registry, parsed));
        if (parsed.switches.contains("--json")) {
          std::printf("%s\n", to_json(added).dump(2).c_str());
        } else {
          print(added);
        }
        return 0;
      });
}

int list_models(const ModelPlaces& places, const Words& words) {
  const ParsedWords parsed = take_words(words, "model", {"--json"}, 0, 1, {"--registry"});
  const ModelRegistry registry = registry_of(parsed, places);
  const std::vector<std::string> names =
      parsed.operands.empty() ? registry.names() : parsed.operands;
  if (!parsed.operands.empty()) registry.get(names[0]);  // a name that is not there is an error
  Json json = Json::array();
  for (const std::string& name : names) {
    for (const ModelVersion& version : registry.versions(name)) {
      json.push_back(to_json(version));
      if (!parsed.switches.contains("--json")) print(version);
    }
  }
  if (parsed.switches.contains("--json")) std::printf("%s\n", json.dump(2).c_str());
  return 0;
}

int get_model(const ModelPlaces& places, const Words& words) {
  const ParsedWords parsed = take_words(words, "model", {"--json"}, 1, 1, {"--registry"});
  const ModelVersion version = find(registry_of(parsed, places), parsed.operands[0]);
  std::printf("%s\n", parsed.switches.contains("--json") ? to_json(version).dump(2).c_str()
                                                         : version.checkpoint().c_str());
  return 0;
}

int promote_model(const ModelPlaces& places, const Words& words) {
  const ParsedWords parsed = take_words(words, "model", {}, 3, 3, {"--registry"});
  const std::string& text = parsed.operands[1];
  int version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size())
    throw ConfigError("muster model: expected the number of a version, found '" + text + "'");
  const ModelRegistry registry = registry_of(parsed, places);
  registry.promote(parsed.operands[0], version, parsed.operands[2]);
  print(registry.get(parsed.operands[0], text));
  return 0;
}

/// Whether a registry or a checkpoint is in a store.
bool means_store(const Words& words) {
  return is_store_url(registry_variable()) ||
         std::any_of(words.begin(), words.end(), [](const std::string& word) {
           return is_store_url(word) || word.starts_with("--registry=s3://");
         });
}

}  // namespace

int model_in(const ModelPlaces& places, const Words& words) {
  const std::vector<std::string> verbs = {"register", "list", "get", "promote"};
  const std::string verb = words.empty() ? "" : words[0];
  const Words rest(words.begin() + (words.empty() ? 0 : 1), words.end());
  if (verb == "register") return register_model(places, rest);
  if (verb == "list") return list_models(places, rest);
  if (verb == "get") return get_model(places, rest);
  if (verb == "promote") return promote_model(places, rest);
  const std::string nearest = nearest_name(verb, verbs);
  throw ConfigError("muster model: expected register, list, get or promote, found '" + verb +
                    "'; " +
                    (nearest.empty() ? "see muster help model" : "did you mean " + nearest + "?"));
}

int model_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(model_command_help().c_str(), stdout);
    return 0;
  }
  if (means_store(words)) become_sibling("muster-store", "model", words);
  const auto env = make_system_env();
  return model_in({.env = [&](const std::string&) -> Env& { return *env; },
                   .registry = [&](const std::string& path) { return ModelRegistry(path, *env); }},
                  words);
}

std::string model_command_help() {
  return "usage: muster model register CKPT NAME [--metrics A=X,B=Y] [--run R] [--parent NAME@V] "
         "[--json]\n"
         "       muster model list [NAME] [--json]\n"
         "       muster model get NAME[@VERSION|@STAGE] [--json]\n"
         "       muster model promote NAME VERSION STAGE\n"
         "Keeps models under names and numbers, in a directory, or a prefix of an S3-compatible "
         "store, given by --registry\n"
         "DIR or MUSTER_REGISTRY. register copies a checkpoint (of a directory of them the newest; "
         "on disk or at s3://) into\n"
         "it, checks every byte of the copy and makes it the next version of NAME, with its state "
         "hash, metrics (those of the\n"
         "run's last evaluation, and those given), run, step and parent (by default the version "
         "that the run's --init-from\n"
         "named). get prints the path of a version's checkpoint: the newest, a number, or the one "
         "in a stage. promote puts a\n"
         "version into a stage, in the place of the one before. Any number of processes may do all "
         "of this at once. The\n"
         "variables for stores: muster help copy.\n";
}

}  // namespace muster::launcher
