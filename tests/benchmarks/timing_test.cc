// Plans and quantiles.
#include "timing.h"

#include <gtest/gtest.h>

namespace muster::bench {
namespace {

TEST(PlanBatches, ShortRunsAreTimedTogether) {
  EXPECT_EQ(plan_batches(3e-6, 0.2).runs_per_batch, 34);
  EXPECT_EQ(plan_batches(1e-9, 0.2).runs_per_batch, 1000);
  EXPECT_EQ(plan_batches(1e-3, 0.2).runs_per_batch, 1);
}

TEST(PlanBatches, BatchesFillTheBudgetWithinLimits) {
  EXPECT_EQ(plan_batches(1e-3, 0.1).batches, 101);
  EXPECT_EQ(plan_batches(1.0, 0.2).batches, 11);
  EXPECT_EQ(plan_batches(1e-6, 100).batches, 1001);
}

TEST(PlanBatches, AClockThatSawNoTimeDoesNoHarm) {
  EXPECT_EQ(plan_batches(0, 0.2).runs_per_batch, 1000);
  EXPECT_EQ(plan_batches(0, 0.2).batches, 1001);
}

TEST(Summarize, QuantilesAreSamplesByNearestRank) {
  const Timing timing = summarize({11, 3, 5, 1, 9, 7, 2, 4, 6, 8, 10});
  EXPECT_EQ(timing.median_s, 6);
  EXPECT_EQ(timing.p10_s, 2);
  EXPECT_EQ(timing.p90_s, 10);
}

TEST(Summarize, OneSampleIsAllThree) {
  const Timing timing = summarize({5});
  EXPECT_EQ(timing.median_s, 5);
  EXPECT_EQ(timing.p10_s, 5);
  EXPECT_EQ(timing.p90_s, 5);
}

}  // namespace
}  // namespace muster::bench
