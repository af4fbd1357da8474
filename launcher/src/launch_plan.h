// Who the ranks of a generation are: options -> environments and log files. Pure.
#ifndef MUSTER_LAUNCHER_LAUNCH_PLAN_H_
#define MUSTER_LAUNCHER_LAUNCH_PLAN_H_

#include <filesystem>
#include <string>
#include <vector>

#include "muster/base/rank_env.h"

namespace muster::launcher {

/// One rank of one generation, before it is started.
struct RankPlan {
  RankEnv env;  ///< Without descriptors and flight directory, which its RankProcess adds.
  std::filesystem::path log_path;
};

/// The ranks 0 .. world_size-1 of `generation` on one node, in order. Log files are
/// `log_directory`/generation-GGG/rank-R.log.
std::vector<RankPlan> plan_generation(int world_size, int generation, const std::string& run_id,
                                      const std::filesystem::path& log_directory);

/// The environment of a rank: `inherited` ("NAME=value" lines) with the rank's own variables in
/// place of any of the same name.
std::vector<std::string> merge_environment(const std::vector<std::string>& inherited,
                                           const RankEnv& env);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_LAUNCH_PLAN_H_
