// The plan of a generation, for all small world sizes.
#include "launch_plan.h"

#include <gmock/gmock.h>

#include <map>

namespace muster::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

TEST(LaunchPlanTest, EveryRankOfEveryWorldKnowsItsPlace) {
  for (int world_size = 1; world_size <= 16; ++world_size) {
    for (const int generation : {0, 7, 1234}) {
      const auto plan = plan_generation(world_size, generation, "run-1", "logs");
      ASSERT_EQ(plan.size(), static_cast<std::size_t>(world_size));
      for (int rank = 0; rank < world_size; ++rank) {
        const RankEnv& env = plan[static_cast<std::size_t>(rank)].env;
        EXPECT_EQ(env.launched_by, LaunchedBy::kMuster);
        EXPECT_EQ(env.rank, rank);
        EXPECT_EQ(env.world_size, world_size);
        EXPECT_EQ(env.local_rank, rank);
        EXPECT_EQ(env.local_world_size, world_size);
        EXPECT_EQ(env.generation, generation);
        EXPECT_EQ(env.run_id, "run-1");
      }
    }
  }
}

TEST(LaunchPlanTest, LogFilesSayGenerationAndRank) {
  EXPECT_EQ(plan_generation(2, 0, "r", "logs")[1].log_path, "logs/generation-000/rank-1.log");
  EXPECT_EQ(plan_generation(1, 12, "r", "logs")[0].log_path, "logs/generation-012/rank-0.log");
  EXPECT_EQ(plan_generation(1, 4321, "r", "logs")[0].log_path, "logs/generation-4321/rank-0.log");
}

TEST(LaunchPlanTest, TheRankReadsBackWhatWasPlanned) {
  RankEnv env = plan_generation(3, 2, "run-9", "logs")[1].env;
  env.control_fd = 11;
  env.node_memory_fd = 12;
  std::map<std::string, std::string> variables;
  for (const std::string& line : merge_environment({}, env)) {
    variables[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  }
  const RankEnv read =
      RankEnv::from_environment([&](const std::string& name) -> std::optional<std::string> {
        const auto it = variables.find(name);
        if (it == variables.end()) return std::nullopt;
        return it->second;
      });
  EXPECT_EQ(read.rank, 1);
  EXPECT_EQ(read.world_size, 3);
  EXPECT_EQ(read.generation, 2);
  EXPECT_EQ(read.control_fd, 11);
  EXPECT_EQ(read.node_memory_fd, 12);
  EXPECT_EQ(read.run_id, "run-9");
}

TEST(LaunchPlanTest, InheritedVariablesStayAndStaleRanksGo) {
  RankEnv env;
  env.rank = 5;
  env.world_size = 6;
  const auto merged = merge_environment(
      {"HOME=/h", "MUSTER_RANK=1", "MUSTER_RANKS=2", "EQUALS=a=b", "NOTHING"}, env);
  EXPECT_THAT(merged, Contains("HOME=/h"));
  EXPECT_THAT(merged, Contains("EQUALS=a=b"));
  EXPECT_THAT(merged, Contains("NOTHING"));
  EXPECT_THAT(merged, Contains("MUSTER_RANKS=2"));
  EXPECT_THAT(merged, Contains("MUSTER_RANK=5"));
  EXPECT_THAT(merged, Not(Contains("MUSTER_RANK=1")));
}

}  // namespace
}  // namespace muster::launcher
