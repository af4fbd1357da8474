// The plan of a generation on one node.
#include "launch_plan.h"

#include <cstdio>
#include <set>
#include <string_view>

namespace muster::launcher {

std::vector<RankPlan> plan_generation(int world_size, int generation, const std::string& run_id,
                                      const std::filesystem::path& log_directory) {
  char folder[32];
  std::snprintf(folder, sizeof folder, "generation-%03d", generation);
  std::vector<RankPlan> plan;
  for (int rank = 0; rank < world_size; ++rank) {
    RankPlan one;
    one.env.launched_by = LaunchedBy::kMuster;
    one.env.rank = rank;
    one.env.world_size = world_size;
    one.env.local_rank = rank;
    one.env.local_world_size = world_size;
    one.env.generation = generation;
    one.env.run_id = run_id;
    one.log_path = log_directory / folder / ("rank-" + std::to_string(rank) + ".log");
    plan.push_back(std::move(one));
  }
  return plan;
}

std::vector<std::string> merge_environment(const std::vector<std::string>& inherited,
                                           const RankEnv& env) {
  const auto own = env.to_environment();
  std::set<std::string_view> own_names;
  for (const auto& [name, value] : own) own_names.insert(name);
  std::vector<std::string> merged;
  for (const std::string& line : inherited) {
    const std::string_view name = std::string_view(line).substr(0, line.find('='));
    if (!own_names.contains(name)) merged.push_back(line);
  }
  for (const auto& [name, value] : own) merged.push_back(name + "=" + value);
  return merged;
}

}  // namespace muster::launcher
