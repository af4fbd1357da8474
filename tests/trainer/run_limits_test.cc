// Which limit ends a run.
#include "run_limits.h"

#include <gtest/gtest.h>

namespace muster::internal {
namespace {

std::string reached(const RunLimits& limits, std::int64_t step, double tokens,
                    bool time_is_up = false) {
  JobProgress progress;
  progress.step = step;
  progress.tokens = tokens;
  return limits.reached(progress, time_is_up);
}

TEST(RunLimits, TheFirstThatIsReachedEnds) {
  const RunLimits limits(10, 1000, 0.5);
  EXPECT_EQ(reached(limits, 9, 999), "");
  EXPECT_EQ(reached(limits, 10, 999), "10 of 10 steps");
  EXPECT_EQ(reached(limits, 9, 1001), "1001 of 1000 tokens");
  EXPECT_EQ(reached(limits, 9, 999, true), "the 30 seconds of --minutes");
}

TEST(RunLimits, NoStepsAreNoLimitBesideAnother) {
  EXPECT_EQ(reached(RunLimits(0, 0, 0), 0, 0), "0 of 0 steps");
  EXPECT_EQ(reached(RunLimits(0, 5, 0), 1000, 4), "");
  EXPECT_EQ(reached(RunLimits(0, 0, 1), 1000, 4), "");
  EXPECT_EQ(reached(RunLimits(7, 0, 0), 6, 1e9), "");
}

TEST(RunLimits, TimeIsUpAtTheMinute) {
  EXPECT_FALSE(RunLimits(1, 0, 0).time_is_up(std::chrono::hours(1)));
  EXPECT_FALSE(RunLimits(1, 0, 2).time_is_up(std::chrono::seconds(119)));
  EXPECT_TRUE(RunLimits(1, 0, 2).time_is_up(std::chrono::minutes(2)));
}

}  // namespace
}  // namespace muster::internal
