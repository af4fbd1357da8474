// Learning rates at the points where curves go wrong: the ends, the seams, and beyond.
#include "muster/trainer/schedule.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

TEST(Schedule, ConstantIsConstant) {
  const Schedule schedule{.base_rate = 0.5};
  EXPECT_EQ(schedule.rate(0), 0.5);
  EXPECT_EQ(schedule.rate(1000000), 0.5);
}

TEST(Schedule, WarmupRisesLinearlyToTheBaseRate) {
  const Schedule schedule{.base_rate = 1.0, .warmup_steps = 4};
  EXPECT_EQ(schedule.rate(0), 0.25);
  EXPECT_EQ(schedule.rate(1), 0.5);
  EXPECT_EQ(schedule.rate(3), 1.0);
  EXPECT_EQ(schedule.rate(4), 1.0);
}

TEST(Schedule, CosineFallsFromBaseToItsMinimumAndStays) {
  const Schedule schedule{.kind = ScheduleKind::kCosine,
                          .base_rate = 2.0,
                          .warmup_steps = 10,
                          .total_steps = 110,
                          .min_factor = 0.1};
  EXPECT_EQ(schedule.rate(10), 2.0);
  EXPECT_NEAR(schedule.rate(60), 2.0 * 0.55, 1e-12);  // half way: the mean of 1 and 0.1
  EXPECT_NEAR(schedule.rate(110), 0.2, 1e-12);
  EXPECT_NEAR(schedule.rate(5000), 0.2, 1e-12);
  for (std::int64_t step = 10; step < 110; ++step) {
    EXPECT_GT(schedule.rate(step), schedule.rate(step + 1));
  }
}

TEST(Schedule, CosineOfNoLengthDoesNotDivideByZero) {
  const Schedule schedule{.kind = ScheduleKind::kCosine, .base_rate = 1.0, .total_steps = 0};
  EXPECT_EQ(schedule.rate(0), 1.0);
  EXPECT_EQ(schedule.rate(1), 0.0);
}

}  // namespace
}  // namespace muster
