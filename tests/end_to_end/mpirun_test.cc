// The same programs without the launcher: under plain mpirun, over both transports, and alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job.h"

namespace muster::testing {
namespace {

constexpr int kSteps = 12;

/// `words` before the program, `more` behind its options; the state goes where `job` looks for it.
ProgramResult run_with(Job& job, std::vector<std::string> words, std::vector<std::string> more) {
  words.push_back(std::string(MUSTER_BIN_DIR) + "/fashion_mnist");
  for (const std::string& option : fashion_mnist_options(kSteps)) words.push_back(option);
  words.insert(words.end(), {"--checkpoint-dir", job.checkpoints().string()});
  words.insert(words.end(), more.begin(), more.end());
  return Program(words, job.directory()).wait();
}

std::vector<std::string> mpirun(int ranks) {
  const std::string script = ". " MUSTER_SOURCE_DIR "/scripts/env && exec mpirun \"$@\"";
  return {"bash", "-c", script, "mpirun", "-n", std::to_string(ranks)};
}

TEST(Mpirun, GivesTheBitsOfTheLauncherOverBothTransports) {
  Job launched("fashion_mnist", fashion_mnist_options(kSteps));
  ASSERT_EQ(launched.run(2).exit_code, 0);
  for (const char* transport : {"auto", "mpi"}) {
    for (const int ranks : {2, 3}) {
      Job job("fashion_mnist", {});
      const ProgramResult result = run_with(job, mpirun(ranks), {"--transport", transport});
      ASSERT_EQ(result.exit_code, 0) << transport << " " << ranks << "\n" << result.err;
      EXPECT_EQ(job.state_hash(), launched.state_hash()) << transport << " " << ranks;
      EXPECT_EQ(job.metrics(), launched.metrics()) << transport << " " << ranks;
    }
  }
}

TEST(Mpirun, AWrongFlagIsToldOnce) {
  Job job("fashion_mnist", {});
  const ProgramResult result = run_with(job, mpirun(3), {"--epoch", "3"});
  EXPECT_EQ(result.exit_code, 64) << result.err;
  const std::size_t first = result.err.find("did you mean --epochs?");
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("did you mean --epochs?", first + 1), std::string::npos) << result.err;
}

TEST(Alone, AProgramIsAWorldOfOne) {
  Job launched("fashion_mnist", fashion_mnist_options(kSteps));
  ASSERT_EQ(launched.run(4).exit_code, 0);
  Job job("fashion_mnist", {});
  const ProgramResult result = run_with(job, {}, {});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(job.state_hash(), launched.state_hash());
}

}  // namespace
}  // namespace muster::testing
