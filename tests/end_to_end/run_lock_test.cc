// The same job started twice: the second is refused by name, the first goes on, and once it is
// dead, however it died, the next goes on from what it saved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>

#include "job.h"

namespace muster::testing {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<Program> muster(const Job& job, const std::filesystem::path& output,
                                std::vector<std::string> words) {
  words.insert(words.begin(), std::string(MUSTER_BIN_DIR) + "/muster");
  words.push_back(job.checkpoints().string());
  std::filesystem::create_directories(output);
  return std::make_unique<Program>(words, output);
}

void wait_for_a_checkpoint(const Job& job, Program& program) {
  ASSERT_TRUE(wait_until([&] { return !program.running() || job.checkpoint_paths().size() >= 2; },
                         seconds(60)));
  ASSERT_TRUE(program.running()) << program.error();
}

TEST(RunLock, AJobStartedTwiceIsRefusedAndTheFirstGoesOn) {
  Job job(MUSTER_LINE_FIT, {"--checkpoint-every", "50", "--steps", "100000000"});
  const ScratchDirectory elsewhere;
  auto first = job.start(2);
  ASSERT_NO_FATAL_FAILURE(wait_for_a_checkpoint(job, *first));
  const std::string holder = "process " + std::to_string(job.rank_pid(0)) + " (";

  // Both wait for it, together.
  Program second({std::string(MUSTER_BIN_DIR) + "/muster", "run", "-n", "3", "--log-dir",
                  (elsewhere.path() / "logs").string(), "--", MUSTER_LINE_FIT, "--fresh",
                  "--timeout", "2", "--checkpoint-dir", job.checkpoints().string()},
                 elsewhere.path());
  const auto prune = muster(job, elsewhere.path() / "prune", {"prune", "--keep", "1", "--delete"});
  const ProgramResult refused = second.wait();
  EXPECT_EQ(refused.exit_code, 64) << refused.err;
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("failed with ConfigError: checkpoint directory"), HasSubstr(holder),
                    HasSubstr("use another directory"), Not(HasSubstr("restarting"))));
  const ProgramResult pruned = prune->wait();
  EXPECT_EQ(pruned.exit_code, 64) << pruned.err;
  EXPECT_THAT(pruned.err, HasSubstr(holder));

  // What only reads is let in.
  EXPECT_EQ(muster(job, elsewhere.path() / "checkpoints", {"checkpoints"})->wait().exit_code, 0);
  EXPECT_EQ(muster(job, elsewhere.path() / "dry", {"prune", "--keep", "9"})->wait().exit_code, 0);
  EXPECT_TRUE(first->running()) << first->error();
  first->signal(SIGTERM);
  EXPECT_EQ(first->wait().exit_code, 79);
  EXPECT_EQ(
      muster(job, elsewhere.path() / "now", {"prune", "--keep", "1", "--delete"})->wait().exit_code,
      0);
}

TEST(RunLock, AKilledRunIsInNobodysWay) {
  Job job(MUSTER_LINE_FIT, {"--checkpoint-every", "50"});
  auto first = job.start(2, {}, {"--steps", "100000000"});
  ASSERT_NO_FATAL_FAILURE(wait_for_a_checkpoint(job, *first));
  // Its own next generation is let in.
  const pid_t rank = job.rank_pid(0);
  ASSERT_TRUE(job.signal_rank(0, SIGKILL));
  EXPECT_TRUE(wait_until(
      [&] {
        return !first->running() ||
               (job.rank_pid(0) != rank && job.run_file().value("state", "") == "running");
      },
      seconds(60)));
  EXPECT_TRUE(first->running()) << first->error();
  // And the next run, though the ranks may be still dying.
  first->signal(SIGKILL);
  const ProgramResult next = job.run(3, {}, {"--steps", std::to_string(job.step() + 100)});
  EXPECT_EQ(next.exit_code, 0) << next.err;
  EXPECT_THAT(next.err, HasSubstr("resumed at step"));
}

}  // namespace
}  // namespace muster::testing
