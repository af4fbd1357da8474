// Ranks that die and leave their state in the launcher's memory: the job goes on from the step
// before, with the same bits.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <random>

#include "job.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kSnapshotSteps = 60;

/// Without a checkpoint before the end, so that nothing but snapshots can bring a state back.
std::vector<std::string> rarely_saved(std::vector<std::string> more = {}) {
  std::vector<std::string> options = {"--data",          MUSTER_SHAKESPEARE_DIR,
                                      "--logical-ranks", "4",
                                      "--micro-batch",   "2",
                                      "--width",         "32",
                                      "--layers",        "2",
                                      "--context",       "32",
                                      "--steps",         std::to_string(kSnapshotSteps),
                                      "--eval-batch",    "64"};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

/// The steps in lines "resumed from snapshot of step N, which ...", in order.
std::vector<std::int64_t> resumed_steps(const std::string& text) {
  const std::string mark = "resumed from snapshot of step ";
  std::vector<std::int64_t> steps;
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1))
    steps.push_back(std::stoll(text.substr(at + mark.size())));
  return steps;
}

void wait_for_step(const Job& job, Program& program, std::int64_t step) {
  wait_until([&] { return !program.running() || job.step() >= step; }, std::chrono::seconds(60));
}

TEST(Snapshots, ARankThatDiesCostsOneStep) {
  const std::vector<std::string> options = {"--ema", "0.9", "--eval-every", "0"};
  Job calm(MUSTER_WATCHED_FIT, options);
  ASSERT_EQ(calm.run(2).exit_code, 0);
  for (const int stage : {0, 1, 3}) {
    Job job(MUSTER_WATCHED_FIT, options);
    // The last rank dies at the end of step 48, before it copies that step's state.
    const ProgramResult result =
        job.run(3, {}, {"--snapshot-every", "1", "--zero-stage", std::to_string(stage)},
                {{"MUSTER_TEST_DIE_AT", "48"}});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(resumed_steps(result.err), std::vector<std::int64_t>{47}) << result.err;
    EXPECT_THAT(result.err, HasSubstr("snapshots held the training steps for"));
    EXPECT_EQ(job.state_hash(), calm.state_hash());
    EXPECT_EQ(job.metrics(), calm.metrics());
  }
}

TEST(Snapshots, RanksKilledAtRandomGoOnWithTheSameBits) {
  Job calm("char_gpt", rarely_saved());
  ASSERT_EQ(calm.run(1).exit_code, 0);
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Job job("char_gpt", rarely_saved({"--snapshot-every", "1"}));
  // Each death takes ranks away: from 4 to 3, then all of those, then from 3 to 2.
  auto program = job.start(4, {"--elastic", "1:4", "--max-restarts", "9"});
  std::int64_t seen = 0;
  int kills = 0;
  for (const bool all : {false, true, false}) {
    seen = std::max(seen, job.step());
    wait_for_step(job, *program, seen + 1 + static_cast<std::int64_t>(random() % 10));
    seen = job.step();
    const int victim = static_cast<int>(random() % 2);
    for (int rank = 0; rank < 4; ++rank) {
      if (!all && rank != victim) continue;
      if (program->running() && job.signal_rank(rank, SIGKILL)) ++kills;
    }
  }
  const ProgramResult result = program->wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_GE(kills, 1);
  EXPECT_FALSE(resumed_steps(result.err).empty()) << result.err;
  EXPECT_EQ(job.state_hash(), calm.state_hash());
  EXPECT_EQ(job.metrics(), calm.metrics());
}

/// Flips a bit in the first data of either slot of rank 0.
void damage_snapshots(pid_t launcher) {
  int damaged = 0;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(launcher) + "/fd")) {
    std::error_code error;
    if (fs::read_symlink(entry.path(), error).string().find("muster-snapshots") ==
        std::string::npos)
      continue;
    const int fd = open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    for (const off_t slot : {off_t{0}, off_t{1} << 38}) {
      char byte = 0;
      ASSERT_EQ(pread(fd, &byte, 1, slot + 4096), 1);
      byte = static_cast<char>(byte ^ 1);
      ASSERT_EQ(pwrite(fd, &byte, 1, slot + 4096), 1);
      ++damaged;
    }
    close(fd);
  }
  ASSERT_EQ(damaged, 2) << "expected the launcher to hold one memory for snapshots";
}

TEST(Snapshots, DamagedOnesAreToldAndTheDiskIsUsed) {
  Job calm("char_gpt", rarely_saved());
  ASSERT_EQ(calm.run(2).exit_code, 0);
  Job job("char_gpt", rarely_saved({"--snapshot-every", "1", "--checkpoint-every", "10"}));
  auto program = job.start(2);
  ASSERT_TRUE(
      wait_until([&] { return !job.checkpoint_paths().empty(); }, std::chrono::seconds(60)));
  // The other rank waits for the one that is frozen: nobody copies any more.
  ASSERT_TRUE(job.signal_rank(0, SIGSTOP));
  damage_snapshots(program->pid());
  ASSERT_TRUE(job.signal_rank(1, SIGKILL));
  const ProgramResult result = program->wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("in memory is not used: "));
  EXPECT_THAT(result.err, HasSubstr("expected crc32c "));
  EXPECT_TRUE(resumed_steps(result.err).empty()) << result.err;
  EXPECT_EQ(job.state_hash(), calm.state_hash());
}

TEST(Snapshots, WithoutTheLauncherTheyAreRefusedByName) {
  ScratchDirectory scratch;
  const ProgramResult result =
      Program({MUSTER_LINE_FIT, "--snapshot-every", "1", "--checkpoint-dir",
               (scratch.path() / "checkpoints").string()},
              scratch.path())
          .wait();
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("--snapshot-every: expected muster run"));
}

}  // namespace
}  // namespace muster::testing
