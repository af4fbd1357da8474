// Learning rates at the points where curves go wrong (the ends, the seams, and beyond), and all
// along against PyTorch's.
#include "muster/trainer/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/trainer/trainer_options.h"

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

TEST(Schedule, NumbersAtTheEndOfTheirRangeAreNeitherWrongNorACrash) {
  Schedule schedule{.base_rate = 1.0, .warmup_steps = 10, .total_steps = 1000};
  parse_schedule("constant:9223372036854775807,linear", schedule);
  EXPECT_EQ(schedule.rate(20), 1.0);
  const Schedule steps{.kind = ScheduleKind::kStep, .base_rate = 1.0, .step_size = 0};
  EXPECT_THROW(steps.rate(3), ConfigError);
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

/// What a training program makes of these flags.
Schedule schedule_of(const Json& flags, double learning_rate, std::int64_t total_steps) {
  TrainerOptions options;
  OptionSet set("test", "");
  options.bind(set);
  std::vector<std::string> texts = {"test"};
  for (const Json& flag : flags) texts.push_back(flag.get<std::string>());
  std::vector<const char*> arguments;
  for (const std::string& text : texts) arguments.push_back(text.c_str());
  set.parse(static_cast<int>(arguments.size()), arguments.data());
  options.learning_rate = learning_rate;
  EXPECT_THAT(options.validate(), testing::IsEmpty());
  return options.learning_rate_schedule(total_steps);
}

TEST(Schedule, FollowsTorch) {
  const std::string path = MUSTER_TEST_DIR "/golden/schedules.json";
  const Json golden = parse_json(make_system_env()->read_text(path), path);
  const double base = golden["learning_rate"];
  const std::int64_t total = golden["total_steps"];
  // PyTorch works out most rates from the one before: 60 steps with up to ten roundings of numbers
  // up to the base rate, each of 2^-53.
  const double tolerance = base * 60 * 10 * 0x1p-53;
  ASSERT_EQ(golden["cases"].size(), 11u);
  for (const Json& one : golden["cases"]) {
    SCOPED_TRACE(one["flags"].dump());
    const Schedule schedule = schedule_of(one["flags"], base, total);
    for (std::size_t step = 0; step < one["rates"].size(); ++step) {
      EXPECT_NEAR(schedule.rate(static_cast<std::int64_t>(step)), one["rates"][step].get<double>(),
                  tolerance)
          << "step " << step;
    }
  }
}

TEST(Schedule, CurvesStayAtTheirEnd) {
  for (const ScheduleKind kind : {ScheduleKind::kLinear, ScheduleKind::kPolynomial}) {
    const Schedule schedule{
        .kind = kind, .base_rate = 2.0, .total_steps = 10, .min_factor = 0.25, .power = 3.0};
    EXPECT_EQ(schedule.rate(10), 0.5);
    EXPECT_EQ(schedule.rate(1000), 0.5);
  }
  const Schedule cycle{.kind = ScheduleKind::kOneCycle, .base_rate = 1.0, .total_steps = 10};
  EXPECT_NEAR(cycle.rate(9), 1 / 25.0 / 1e4, 1e-16);
  EXPECT_EQ(cycle.rate(9), cycle.rate(1000));
}

TEST(Schedule, CurvesOfNoLengthAreFinite) {
  for (int kind = 0; kind <= static_cast<int>(ScheduleKind::kOneCycle); ++kind) {
    for (const std::int64_t total : {0, 1, 2, 3}) {
      const Schedule schedule{
          .kind = static_cast<ScheduleKind>(kind), .base_rate = 1.0, .total_steps = total};
      for (std::int64_t step = 0; step < 5; ++step) {
        EXPECT_GE(schedule.rate(step), 0.0) << kind << " " << total << " " << step;
        EXPECT_LE(schedule.rate(step), 1.0) << kind << " " << total << " " << step;
      }
    }
  }
}

TEST(Schedule, ChainsAreReadPieceByPiece) {
  Schedule schedule;
  parse_schedule("constant:800,cosine:100,linear", schedule);
  EXPECT_EQ(schedule.kind, ScheduleKind::kLinear);
  EXPECT_THAT(schedule.before, testing::ElementsAre(SchedulePiece{ScheduleKind::kConstant, 800},
                                                    SchedulePiece{ScheduleKind::kCosine, 100}));
  parse_schedule("one-cycle", schedule);
  EXPECT_EQ(schedule.kind, ScheduleKind::kOneCycle);
  EXPECT_THAT(schedule.before, testing::IsEmpty());
}

TEST(Schedule, WhatCannotBeReadIsNamed) {
  const auto message = [](const std::string& text) -> std::string {
    Schedule schedule;
    try {
      parse_schedule(text, schedule);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  using testing::HasSubstr;
  EXPECT_THAT(message("cosin"), HasSubstr("expected one of constant, linear, cosine, polynomial, "
                                          "step, exponential, one-cycle, found 'cosin'"));
  EXPECT_THAT(message(""), HasSubstr("found ''"));
  EXPECT_THAT(message("linear,"), HasSubstr("expected a number of steps"));
  EXPECT_THAT(message("constant,linear"), HasSubstr("found 'constant'"));
  EXPECT_THAT(message("linear:10"), HasSubstr("last piece, found 'linear:10'"));
  EXPECT_THAT(message("constant:0,linear"), HasSubstr("1 step or more, found 'constant:0'"));
  EXPECT_THAT(message("constant:3x,linear"), HasSubstr("found 'constant:3x'"));
}

TEST(Schedule, EveryProblemIsToldAtOnce) {
  const Schedule wrong{.kind = ScheduleKind::kOneCycle,
                       .warmup_steps = 5,
                       .min_factor = 2,
                       .power = -1,
                       .step_size = 0,
                       .gamma = 0,
                       .pct_start = 1.5,
                       .div_factor = 0.5,
                       .final_div_factor = 0};
  EXPECT_EQ(wrong.validate().size(), 8u);
  EXPECT_THAT(wrong.validate()[0],
              testing::HasSubstr("--warmup-steps: expected 0 before one-cycle"));
  TrainerOptions options;
  options.schedule = "sawtooth";
  EXPECT_THAT(options.validate(), testing::ElementsAre(testing::HasSubstr("--schedule")));
}

}  // namespace
}  // namespace muster
