// What is in a directory of checkpoints, or of runs with checkpoints: for people and for scripts.
#ifndef MUSTER_LAUNCHER_COMMANDS_RUN_LISTING_H_
#define MUSTER_LAUNCHER_COMMANDS_RUN_LISTING_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/json.h"

namespace muster::launcher {

struct ListedCheckpoint {
  std::int64_t step = 0;
  std::filesystem::path path;
  /// "complete", "damaged", "unreadable" (nobody answered: it may be sound), "set aside", "being
  /// written" (in a store, where the manifest comes last and goes first, or being deleted).
  std::string state;
  std::string problem;  ///< Why not complete: the manifest, a file's size. Bytes are not read.
  std::int64_t bytes = 0;
  std::optional<std::chrono::seconds> age{};  ///< Nothing where the place does not say.
  std::string metric;  ///< That of the run's score, or the one asked for; "" where there is none.
  std::optional<double> score;
  bool best = false;  ///< Of the run, as its newest complete checkpoint knows it.
};

/// The step of the best checkpoint by the run's own score; nothing where it keeps none.
std::optional<std::int64_t> best_step_in(const Json& run_state);

/// The checkpoints of one directory, by step; `metric` in the place of the run's own unless "".
/// Where a run that lives deletes its old ones meanwhile, it looks again, so that the newest are
/// there. Throws CheckpointError when the directory cannot be read.
std::vector<ListedCheckpoint> list_run(const std::filesystem::path& directory,
                                       const std::string& metric, Env& env);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_RUN_LISTING_H_
