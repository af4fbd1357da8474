// --micro-batch auto: what it chooses is the job's from then on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

#include "job.h"

namespace muster::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kPerLogicalRank = 64;

/// char_gpt_options() without its micro-batch, for `steps` steps and with `more`.
std::vector<std::string> options(int steps, const std::vector<std::string>& more) {
  std::vector<std::string> words = char_gpt_options(steps);
  const auto flag = std::find(words.begin(), words.end(), "--micro-batch");
  words.erase(flag, flag + 2);
  words.insert(words.end(), {"--global-batch", std::to_string(4 * kPerLogicalRank)});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The whole number behind `text`; 0 where there is none.
int number_behind(const std::string& output, const std::string& text) {
  const std::size_t at = output.find(text);
  return at == std::string::npos ? 0 : std::atoi(output.c_str() + at + text.size());
}

TEST(MicroBatchAuto, TakesTheLargestThatFitsAndKeepsIt) {
  const std::vector<std::string> automatic = {"--micro-batch", "auto"};
  Job job("char_gpt", options(2, automatic));
  const ProgramResult tight = job.run(2, {}, {"--memory-gib", "0.001"});
  EXPECT_EQ(tight.exit_code, 64);
  const int least_mib = number_behind(tight.err, "one sample, found that ");
  ASSERT_GT(least_mib, 0) << tight.err;

  // Room for some samples more, each of which takes a sixth of a MiB.
  const std::string gib = std::to_string((least_mib + 5) / 1024.0);
  const ProgramResult first = job.run(2, {}, {"--memory-gib", gib});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const int chosen = number_behind(first.err, "micro-batch auto: ");
  EXPECT_GT(chosen, 1) << first.err;
  EXPECT_LT(chosen, kPerLogicalRank) << first.err;
  EXPECT_THAT(first.err, HasSubstr("with micro-batches of " + std::to_string(2 * chosen)));

  // Goes on with it where there is more room.
  const ProgramResult second = job.run(1, {}, {"--steps", "4", "--memory-gib", "64"});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("as the run has had them"));

  Job given("char_gpt", options(4, {"--micro-batch", std::to_string(chosen), "--accumulation-steps",
                                    std::to_string(kPerLogicalRank / chosen)}));
  ASSERT_EQ(given.run(3).exit_code, 0);
  EXPECT_EQ(job.state_hash(), given.state_hash());
}

// Before there is a checkpoint to tell what it was.
TEST(MicroBatchAuto, RestartedRanksDoNotChooseAgain) {
  Job job("char_gpt", options(20, {"--micro-batch", "auto", "--memory-gib", "64"}));
  const auto program = job.start(2, {"--max-restarts", "1"});
  ASSERT_TRUE(wait_until([&] { return job.step() >= 1; }, std::chrono::seconds(60)));
  ASSERT_TRUE(job.signal_rank(1, SIGKILL));
  const ProgramResult result = program->wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("as the run has had them"));
}

TEST(MicroBatchAuto, WhatItNeedsIsTold) {
  Job job("char_gpt", char_gpt_options(1));
  const ProgramResult result =
      job.run(1, {}, {"--micro-batch", "auto", "--accumulation-steps", "2"});
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("expected a --global-batch that is a multiple"));
  EXPECT_THAT(result.err, HasSubstr("expected a --memory-gib above 0"));
  EXPECT_THAT(result.err, HasSubstr("expected no --accumulation-steps"));
  const ProgramResult other = job.run(1, {}, {"--global-batch", "24"});
  EXPECT_EQ(other.exit_code, 64);
  EXPECT_THAT(other.err, HasSubstr("--global-batch: expected logical ranks x accumulation steps"));
}

}  // namespace
}  // namespace muster::testing
