// muster checkpoints
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "commands/command.h"
#include "commands/run_listing.h"
#include "commands/sibling_program.h"
#include "commands/store_commands.h"
#include "commands/words.h"
#include "doctor/quantities.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/tiers.h"

namespace muster::launcher {
namespace fs = std::filesystem;

namespace {

struct Run {
  std::string name;  ///< "" for the directory itself.
  std::vector<ListedCheckpoint> checkpoints;
};

bool is_directory(const fs::path& path, Env& env) {
  try {
    env.list_directory(path);
    return true;
  } catch (const FileError& e) {
    if (e.errno_value() == ENOENT || e.errno_value() == ENOTDIR) return false;
    throw CheckpointError(std::string("listing checkpoints: ") + e.what() +
                          "; check the path and the connection");
  }
}

/// The directory's own checkpoints; where it has none, those of the runs in it.
std::vector<Run> runs_at(const fs::path& directory, const std::string& metric, Env& env) {
  const std::string expected =
      "muster checkpoints: expected a directory with checkpoints or runs in it; ";
  if (!is_directory(directory, env)) {
    throw ConfigError(expected + "found no directory '" + directory.string() + "'; check the path");
  }
  std::vector<Run> runs = {{"", list_run(directory, metric, env)}};
  if (!runs[0].checkpoints.empty()) return runs;
  runs.clear();
  for (const std::string& name : env.list_directory(directory)) {
    if (!is_directory(directory / name, env)) continue;
    std::vector<ListedCheckpoint> listed = list_run(directory / name, metric, env);
    if (!listed.empty()) runs.push_back({name, std::move(listed)});
  }
  if (!runs.empty()) return runs;
  throw ConfigError(expected + "found none in '" + directory.string() + "'; check the path");
}

std::string tier_of(const ListedCheckpoint& one) {
  return checkpoint::tier_name(is_store_url(one.path.string()) ? checkpoint::Tier::kStore
                                                               : checkpoint::Tier::kDisk);
}

Json to_json(const ListedCheckpoint& one) {
  return {{"step", one.step},
          {"path", one.path.string()},
          {"state", one.state},
          {"problem", one.problem},
          {"tier", tier_of(one)},
          {"bytes", one.bytes},
          {"age_seconds", one.age ? Json(one.age->count()) : Json()},
          {"metric", one.metric},
          {"score", one.score ? Json(*one.score) : Json()},
          {"best", one.best}};
}

Json to_json(const std::vector<Run>& runs) {
  Json json = Json::array();
  for (const Run& run : runs) {
    Json checkpoints = Json::array();
    for (const ListedCheckpoint& one : run.checkpoints) checkpoints.push_back(to_json(one));
    json.push_back({{"run", run.name}, {"checkpoints", std::move(checkpoints)}});
  }
  return {{"runs", std::move(json)}};
}

std::string score_text(const ListedCheckpoint& one) {
  if (!one.score) return "-";
  char text[64];
  std::snprintf(text, sizeof(text), " %.6g%s", *one.score, one.best ? " (best)" : "");
  return one.metric + text;
}

std::string age_text(std::optional<std::chrono::seconds> age) {
  if (!age) return "-";
  const long long seconds = age->count();
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 2 * 3600) return std::to_string(seconds / 60) + " min";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

void print(const Run& run) {
  if (!run.name.empty()) std::printf("%s\n", run.name.c_str());
  std::printf("%12s  %-28s %10s %12s  %-5s %s\n", "step", "score", "age", "size", "tier", "state");
  for (const ListedCheckpoint& one : run.checkpoints) {
    std::printf("%12lld  %-28s %10s %12s  %-5s %s%s%s\n", static_cast<long long>(one.step),
                score_text(one).c_str(), age_text(one.age).c_str(),
                doctor::bytes_text(one.bytes).c_str(), tier_of(one).c_str(), one.state.c_str(),
                one.problem.empty() ? "" : ": ", one.problem.c_str());
  }
}

}  // namespace

int checkpoints_in(Env& env, const Words& words) {
  const ParsedWords parsed = take_words(words, "checkpoints", {"--json"}, 1, 1, {"--metric"});
  const auto metric = parsed.values.find("--metric");
  const std::vector<Run> runs =
      runs_at(parsed.operands[0], metric == parsed.values.end() ? "" : metric->second, env);
  if (parsed.switches.contains("--json")) {
    std::printf("%s\n", to_json(runs).dump(2).c_str());
  } else {
    for (const Run& run : runs) print(run);
  }
  return 0;
}

int checkpoints_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(checkpoints_command_help().c_str(), stdout);
    return 0;
  }
  leave_stores_to_sibling("checkpoints", words);
  return checkpoints_in(*make_system_env(), words);
}

std::string checkpoints_command_help() {
  return "usage: muster checkpoints RUN [--metric NAME] [--json]\n"
         "Lists the checkpoints of a run, oldest first: step, score of the last evaluation before "
         "it, age, size, tier\n"
         "and state: complete, damaged (manifest or sizes; muster verify reads every byte), "
         "unreadable (no answer: it\n"
         "may be sound), set aside by a restore, being written. RUN is a directory of checkpoints, "
         "or one of runs: then all of them.\n"
         "  --metric NAME  in the place of the run's own --score\n"
         "  --json         as one JSON object\n";
}

}  // namespace muster::launcher
