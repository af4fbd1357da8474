// Names, manifests and sizes; no data is read.
#include "commands/run_listing.h"

#include <algorithm>
#include <system_error>

#include "commands/checkpoint_path.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/read_errors.h"
#include "muster/checkpoint/retention.h"

namespace muster::launcher {
namespace fs = std::filesystem;

namespace {

using checkpoint::step_of_directory_name;

constexpr std::string_view kAttemptPrefix = ".attempt-";
constexpr std::string_view kDamagedMark = ".damaged";

struct NamedState {
  std::int64_t step;
  const char* state;
};

std::optional<NamedState> state_of_name(const std::string& name) {
  if (const auto step = step_of_directory_name(name)) return NamedState{*step, "complete"};
  if (name.starts_with(kAttemptPrefix)) {
    const auto step = step_of_directory_name(std::string_view(name).substr(
        kAttemptPrefix.size(), name.rfind("-g") - kAttemptPrefix.size()));
    if (step) return NamedState{*step, "being written"};
  }
  if (const auto mark = name.find(kDamagedMark); mark != std::string::npos) {
    const auto step = step_of_directory_name(std::string_view(name).substr(0, mark));
    if (step) return NamedState{*step, "set aside"};
  }
  return std::nullopt;
}

std::int64_t bytes_in(const fs::path& directory, Env& env) {
  std::int64_t bytes = 0;
  for (const std::string& name : env.list_directory(directory)) {
    try {
      bytes += static_cast<std::int64_t>(env.open_file(directory / name)->size_bytes());
    } catch (const FileError&) {
      // It went away, or is none of ours: a listing shows what it can.
    }
  }
  return bytes;
}

std::optional<std::chrono::seconds> age_of(const fs::path& path) {
  std::error_code error;
  const auto written = fs::last_write_time(path, error);
  if (error) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(fs::file_time_type::clock::now() -
                                                          written);
}

/// Why the checkpoint cannot be whole; "" when it may be.
std::string problem_of(const checkpoint::Checkpoint& checkpoint, std::int64_t step, Env& env) {
  const checkpoint::Manifest& manifest = checkpoint.manifest();
  if (manifest.step != step)
    return "expected the manifest of step " + std::to_string(step) + ", found that of step " +
           std::to_string(manifest.step);
  for (const checkpoint::ManifestFile& file : manifest.files) {
    const auto found =
        static_cast<std::int64_t>(env.open_file(checkpoint.directory() / file.file)->size_bytes());
    if (found != file.bytes)
      return file.file + ": expected " + std::to_string(file.bytes) + " bytes, found " +
             std::to_string(found);
  }
  return "";
}

std::string run_metric(const Json& run_state) {
  const auto score = run_state.is_object() ? run_state.find("score") : run_state.end();
  if (score == run_state.end() || !score->is_object() || !score->contains("metric")) return "";
  const Json& metric = score->at("metric");
  return metric.is_string() ? metric.get<std::string>() : "";
}

/// Opens it for what only the manifest knows.
void look_into(ListedCheckpoint& one, const std::string& metric, std::optional<std::int64_t>& best,
               Env& env) {
  try {
    const auto opened = checkpoint::Checkpoint::open(one.path, env);
    const Json& run_state = opened.manifest().run_state;
    one.metric = metric.empty() ? run_metric(run_state) : metric;
    one.score = checkpoint::score_in(run_state, one.metric);
    one.problem = problem_of(opened, one.step, env);
    one.state = one.problem.empty() ? "complete" : "damaged";
    if (one.problem.empty()) best = best_step_in(run_state);
  } catch (const checkpoint::Undecided& e) {
    one.state = "unreadable";
    one.problem = e.what();
  } catch (const CheckpointError& e) {
    const bool unfinished = is_unfinished(one.path, env);
    one.state = unfinished ? "being written" : "damaged";
    if (!unfinished) one.problem = e.what();
  } catch (const FileError& e) {
    one.state = checkpoint::means_damage(e) ? "damaged" : "unreadable";
    one.problem = e.what();
  }
}

struct Look {
  std::vector<ListedCheckpoint> checkpoints;
  bool changed = false;  ///< Some went away meanwhile and are left out.
};

Look look_at(const fs::path& directory, const std::string& metric, Env& env) {
  Look look;
  for (const std::string& name : env.list_directory(directory)) {
    const auto named = state_of_name(name);
    if (!named) continue;
    const fs::path path = directory / name;
    try {
      look.checkpoints.push_back({.step = named->step,
                                  .path = path,
                                  .state = named->state,
                                  .problem = {},
                                  .bytes = bytes_in(path, env),
                                  .age = age_of(path),
                                  .metric = {},
                                  .score = {}});
    } catch (const FileError&) {
      if (env.exists(path)) throw;
      look.changed = true;
    }
  }
  std::stable_sort(look.checkpoints.begin(), look.checkpoints.end(),
                   [](const auto& a, const auto& b) { return a.step < b.step; });
  std::optional<std::int64_t> best;
  for (ListedCheckpoint& one : look.checkpoints) {
    if (one.state == "complete") look_into(one, metric, best, env);
  }
  const auto went_away = [&](const ListedCheckpoint& one) {
    return one.state != "complete" && !env.exists(one.path);
  };
  if (std::erase_if(look.checkpoints, went_away) > 0) look.changed = true;
  for (ListedCheckpoint& one : look.checkpoints)
    one.best = one.state == "complete" && best == one.step;
  return look;
}

}  // namespace

std::optional<std::int64_t> best_step_in(const Json& run_state) {
  if (run_metric(run_state).empty()) return std::nullopt;
  const Json& score = run_state.at("score");
  const auto step = score.find("best_step");
  if (step == score.end() || !step->is_number_integer()) return std::nullopt;
  return step->get<std::int64_t>();
}

std::vector<ListedCheckpoint> list_run(const fs::path& directory, const std::string& metric,
                                       Env& env) {
  try {
    for (int looks = 1;; ++looks) {
      Look look = look_at(directory, metric, env);
      if (!look.changed || looks == kMostChoices) return std::move(look.checkpoints);
    }
  } catch (const FileError& e) {
    throw CheckpointError(std::string("listing checkpoints: ") + e.what() + "; check the path");
  }
}

}  // namespace muster::launcher
