// An Engine in a loop of one's own: the same bits at every world size, however it is started.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "subprocess.h"

namespace muster::testing {
namespace {

const std::string kBin = MUSTER_BIN_DIR;

/// hand_loop for a few steps behind `words`.
ProgramResult run_behind(std::vector<std::string> words, const std::vector<std::string>& options) {
  words.insert(words.end(), {kBin + "/hand_loop", "--data", MUSTER_FASHION_MNIST_DIR, "--steps",
                             "50", "--micro-batch", "4"});
  words.insert(words.end(), options.begin(), options.end());
  const ScratchDirectory scratch;
  return Program(words, scratch.path()).wait();
}

std::vector<std::string> muster_run(int ranks, const ScratchDirectory& logs) {
  return {kBin + "/muster",     "run", "-n", std::to_string(ranks), "--log-dir",
          logs.path().string(), "--"};
}

/// What follows "state " in the output; fails the test where nothing does.
std::string hash_in(const ProgramResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::size_t at = result.out.find("state ");
  EXPECT_NE(at, std::string::npos) << result.out << result.err;
  return at == std::string::npos ? "" : result.out.substr(at + 6, 32);
}

TEST(HandLoop, HasTheSameBitsAtEveryWorldSizeAndStage) {
  const ScratchDirectory logs;
  const ProgramResult alone = run_behind({}, {});
  EXPECT_THAT(alone.out, ::testing::HasSubstr("step 50: loss "));
  const std::string hash = hash_in(alone);
  ASSERT_EQ(hash.size(), 32u);
  EXPECT_EQ(hash_in(run_behind(muster_run(1, logs), {"--zero-stage", "0"})), hash);
  EXPECT_EQ(hash_in(run_behind(muster_run(2, logs), {"--zero-stage", "3"})), hash);
  EXPECT_EQ(hash_in(run_behind(mpirun(2), {"--zero-stage", "2"})), hash);
  EXPECT_NE(hash_in(run_behind({}, {"--logical-ranks", "3"})), hash);
}

TEST(HandLoop, WhatIsWrongIsToldWithItsExitCode) {
  const ScratchDirectory logs;
  const ProgramResult result = run_behind(muster_run(2, logs), {"--data", "/nonexistent"});
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.out + result.err,
              ::testing::HasSubstr("/nonexistent/train-images-idx3-ubyte.gz"));
}

}  // namespace
}  // namespace muster::testing
