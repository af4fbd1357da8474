// The plan of steps and micro-batches: a partition of the epoch for every small case.
#include "muster/data_loader/batch_plan.h"

#include <gtest/gtest.h>

#include <string>

#include "muster/base/error.h"

namespace muster {
namespace {

// Micro-batches in order join without gap or overlap to [0, end) and respect their sizes.
void expect_partition(const BatchPlan& plan) {
  std::int64_t covered = 0;
  std::int64_t steps = 0;
  for (std::int64_t position = 0; plan.has_step(position); position = plan.step(position).end) {
    ++steps;
    for (std::int64_t l = 0; l < plan.logical_ranks; ++l) {
      for (std::int64_t m = 0; m < plan.accumulation_steps; ++m) {
        const PositionRange range = plan.micro_batch_of(position, l, m);
        ASSERT_EQ(range.begin, covered);
        ASSERT_LE(range.size(), plan.micro_batch);
        ASSERT_TRUE(range.size() == plan.micro_batch || range.end == plan.samples);
        covered = range.end;
      }
    }
    ASSERT_EQ(covered, plan.step(position).end);
  }
  ASSERT_EQ(steps, plan.steps_per_epoch());
  const std::int64_t left_over = plan.samples % plan.global_batch();
  ASSERT_EQ(covered, plan.drop_last ? plan.samples - left_over : plan.samples);
}

TEST(BatchPlanTest, MicroBatchesPartitionTheEpoch) {
  for (std::int64_t samples = 1; samples <= 40; ++samples) {
    for (std::int64_t logical_ranks = 1; logical_ranks <= 4; ++logical_ranks) {
      for (std::int64_t accumulation_steps = 1; accumulation_steps <= 3; ++accumulation_steps) {
        for (std::int64_t micro_batch = 1; micro_batch <= 4; ++micro_batch) {
          BatchPlan plan{samples, logical_ranks, accumulation_steps, micro_batch, false};
          SCOPED_TRACE(testing::Message() << samples << " " << logical_ranks << " "
                                          << accumulation_steps << " " << micro_batch);
          ASSERT_NO_THROW(plan.validate());
          ASSERT_NO_FATAL_FAILURE(expect_partition(plan));
          plan.drop_last = true;
          if (samples < plan.global_batch()) {
            ASSERT_THROW(plan.validate(), ConfigError);
          } else {
            ASSERT_NO_FATAL_FAILURE(expect_partition(plan));
          }
        }
      }
    }
  }
}

TEST(BatchPlanTest, AStepMayBeginAnywhere) {
  const BatchPlan plan{.samples = 10, .logical_ranks = 2, .micro_batch = 2};
  EXPECT_EQ(plan.step(3), (PositionRange{3, 7}));
  EXPECT_EQ(plan.micro_batch_of(3, 1, 0), (PositionRange{5, 7}));
  EXPECT_EQ(plan.micro_batch_of(7, 1, 0), (PositionRange{9, 10}));
  EXPECT_EQ(plan.micro_batch_of(9, 1, 0), (PositionRange{10, 10}));
  EXPECT_FALSE(plan.has_step(10));
}

TEST(BatchPlanTest, TheLargestNumbersDoNotOverflow) {
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  const BatchPlan plan{.samples = kMost, .logical_ranks = 2, .micro_batch = kMost / 2};
  ASSERT_NO_THROW(plan.validate());
  EXPECT_EQ(plan.step(kMost - 1), (PositionRange{kMost - 1, kMost}));
  EXPECT_EQ(plan.micro_batch_of(kMost - 1, 1, 0), (PositionRange{kMost, kMost}));
  const BatchPlan too_large{.samples = 1,
                            .logical_ranks = 1 << 30,
                            .accumulation_steps = 1 << 30,
                            .micro_batch = 1 << 30};
  EXPECT_THROW(too_large.validate(), ConfigError);
}

TEST(BatchPlanTest, AllProblemsAreToldAtOnce) {
  const BatchPlan plan{
      .samples = 0, .logical_ranks = 0, .accumulation_steps = -1, .micro_batch = 0};
  try {
    plan.validate();
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    for (const char* name : {"samples", "logical_ranks", "accumulation_steps", "micro_batch"}) {
      EXPECT_NE(message.find(name), std::string::npos) << message;
    }
  }
}

TEST(BatchPlanTest, PositionsAndRanksOutsideThePlanAreErrors) {
  const BatchPlan plan{.samples = 10, .logical_ranks = 2, .micro_batch = 2};
  EXPECT_THROW(plan.step(10), InternalError);
  EXPECT_THROW(plan.step(-1), InternalError);
  EXPECT_THROW(plan.micro_batch_of(0, 2, 0), InternalError);
  EXPECT_THROW(plan.micro_batch_of(0, 0, 1), InternalError);
}

}  // namespace
}  // namespace muster
