// The rule of retention, and names of checkpoint directories.
#include "muster/checkpoint/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "muster/base/error.h"
#include "muster/checkpoint/layout.h"

namespace muster::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::int64_t> expired(int keep_last, std::int64_t keep_every,
                                  std::vector<std::int64_t> steps) {
  return expired_steps({.keep_last = keep_last, .keep_every = keep_every}, steps);
}

TEST(RetentionTest, KeepsTheNewestInWhateverOrderTheyCome) {
  EXPECT_THAT(expired(2, 0, {30, 10, 40, 20}), ElementsAre(10, 20));
  EXPECT_THAT(expired(4, 0, {30, 10, 40, 20}), IsEmpty());
  EXPECT_THAT(expired(9, 0, {30, 10}), IsEmpty());
  EXPECT_THAT(expired(1, 0, {}), IsEmpty());
}

TEST(RetentionTest, KeepsEveryNthBesides) {
  EXPECT_THAT(expired(1, 20, {10, 20, 30, 40, 50}), ElementsAre(10, 30));
  EXPECT_THAT(expired(2, 1, {10, 20, 30}), IsEmpty());
  EXPECT_THAT(expired(1, 1000, {0, 7, 8}), ElementsAre(7)) << "step 0 is a multiple of everything";
}

TEST(RetentionTest, KeepsOneStepBesides) {
  EXPECT_THAT(
      expired_steps({.keep_last = 1, .keep_step = 10}, std::vector<std::int64_t>{10, 20, 30}),
      ElementsAre(20));
  EXPECT_THAT(expired_steps({.keep_last = 1, .keep_step = 5}, std::vector<std::int64_t>{10, 20}),
              ElementsAre(10));
}

std::string verdicts(const Retention& retention, const std::vector<Candidate>& candidates) {
  std::string text;
  for (const Verdict& verdict : judge(retention, candidates)) {
    text += std::to_string(verdict.step) + ":" + verdict.reason + "; ";
  }
  return text;
}

TEST(RetentionTest, SaysWhyEachIsKept) {
  EXPECT_EQ(verdicts({.keep_last = 2, .keep_every = 20, .keep_step = 30},
                     {{40, {}}, {10, {}}, {20, {}}, {30, {}}}),
            "10:; 20:every 20; 30:last 2, the run's best; 40:last 2, every 20; ");
}

TEST(RetentionTest, KeepsTheBestByScore) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<Candidate> candidates = {{1, 0.5}, {2, 0.9}, {3, 0.9},
                                             {4, {}},  {5, nan}, {6, 0.1}};
  EXPECT_EQ(verdicts({.keep_last = 1, .keep_best = 2}, candidates),
            "1:; 2:best 2; 3:best 2; 4:; 5:; 6:last 1; ");
  EXPECT_EQ(verdicts({.keep_last = 1, .keep_best = 1}, candidates),
            "1:; 2:best 1; 3:; 4:; 5:; 6:last 1; ")
      << "of equal scores the older";
  EXPECT_EQ(verdicts({.keep_last = 1, .keep_best = 2, .larger_is_better = false}, candidates),
            "1:best 2; 2:; 3:; 4:; 5:; 6:last 1, best 2; ");
  EXPECT_EQ(verdicts({.keep_last = 1, .keep_best = 9}, {{4, {}}, {5, nan}}), "4:; 5:last 1; ");
}

// For every rule and every set of steps: the newest `keep_last` and the multiples stay, all else
// goes.
TEST(RetentionTest, HoldsForEverySmallCase) {
  for (int keep_last = 1; keep_last <= 4; ++keep_last) {
    for (std::int64_t keep_every = 0; keep_every <= 4; ++keep_every) {
      for (unsigned set = 0; set < 256; ++set) {
        std::vector<std::int64_t> steps;
        for (int step = 0; step < 8; ++step) {
          if ((set >> step) & 1u) steps.push_back(step);
        }
        std::vector<std::int64_t> expected;
        for (std::size_t i = 0; i + static_cast<std::size_t>(keep_last) < steps.size(); ++i) {
          if (keep_every == 0 || steps[i] % keep_every != 0) expected.push_back(steps[i]);
        }
        ASSERT_EQ(expired(keep_last, keep_every, steps), expected)
            << "keep_last " << keep_last << ", keep_every " << keep_every << ", set " << set;
      }
    }
  }
}

TEST(RetentionTest, RefusesRulesThatKeepNothingNamingAllProblems) {
  try {
    Retention{.keep_last = 0, .keep_every = -1}.validate();
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(::testing::HasSubstr("keep_last"),
                                               ::testing::HasSubstr("keep_every")));
  }
}

TEST(LayoutTest, StepsAndNamesGoBothWays) {
  for (const std::int64_t step : {0L, 7L, 12345678L, 99999999L, 100000000L, 9223372036854775807L}) {
    EXPECT_EQ(step_of_directory_name(step_directory_name(step)), step);
  }
  EXPECT_EQ(step_directory_name(1200), "step-00001200");
}

TEST(LayoutTest, OtherNamesAreNoCheckpoints) {
  for (const char* name :
       {"", "step-", "step-1", "step-0000001", "step-00000001.damaged", "step-00000001.damaged-2",
        ".attempt-step-00000001-g0", "step-000000001", "step--0000001", "step-+0000001",
        "step-0000000a", "step-99999999999999999999", "steps-00000001", "Step-00000001"}) {
    EXPECT_EQ(step_of_directory_name(name), std::nullopt) << name;
  }
}

TEST(LayoutTest, NamesOfAttemptsAndShards) {
  EXPECT_EQ(attempt_directory_name(12, 3), ".attempt-step-00000012-g3");
  EXPECT_EQ(shard_file_name(1, 4), "rank-00001-of-00004.h5");
  EXPECT_THROW(shard_file_name(4, 4), InternalError);
}

// As --score names them.
TEST(RetentionTest, FindsAScoreAlsoInATable) {
  const Json state = {
      {"metrics", {{"loss", 0.5}, {"a.b", 2}, {"confusion", {{"accuracy", 0.75}, {"k", "x"}}}}}};
  EXPECT_EQ(score_in(state, "loss"), 0.5);
  EXPECT_EQ(score_in(state, "a.b"), 2);
  EXPECT_EQ(score_in(state, "confusion.accuracy"), 0.75);
  for (const char* name : {"confusion", "confusion.k", "confusion.none", "none.accuracy", "loss.x"})
    EXPECT_FALSE(score_in(state, name).has_value()) << name;
}

}  // namespace
}  // namespace muster::checkpoint
