// Power cuts, full disks and disks that become read-only, on file systems made for it. The whole of
// it: scripts/torture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <iostream>
#include <random>

#include "job.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "subprocess.h"
#include "torture/crash_points.h"
#include "torture/loop_disk.h"
#include "torture/torture_run.h"

namespace muster::testing {
namespace {

using std::chrono::microseconds;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

constexpr int kKilled = 128 + 9;

class DiskTorture : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string missing = Disk::missing(GetParam());
    if (!missing.empty()) GTEST_SKIP() << "needs " << missing;
  }

  // XFS wants 300 MiB, of a file with holes.
  std::unique_ptr<Disk> make_disk() {
    return std::make_unique<Disk>(GetParam(), 320, scratch_.path());
  }

  ScratchDirectory scratch_;
};

class PowerCuts : public DiskTorture {};
INSTANTIATE_TEST_SUITE_P(CheckpointTorture, PowerCuts, ::testing::Values("ext4", "xfs"));

TEST_P(PowerCuts, AtRandomTimes) {
  const auto disk = make_disk();
  const std::int64_t cuts = torture_setting("MUSTER_TORTURE_POWER_CUTS", 8);
  std::mt19937_64 random(torture_seed());
  TortureRun run(disk->path() / "checkpoints", torture_seed(), 1000);
  const auto begin = Clock::now();
  const auto first = run.start(2, {"saves=4"});
  ASSERT_EQ(first->finish(), 0);
  run.remember(*first, "the first life");
  const auto longest = std::chrono::duration_cast<microseconds>(Clock::now() - begin);
  for (std::int64_t i = 0; i < cuts && !HasFailure(); ++i) {
    const std::string what = std::string(GetParam()) + ", cut " + std::to_string(i);
    const int ranks = 1 + static_cast<int>(random() % 3);
    const auto life = run.start(ranks, {"saves=4", "again=" + std::to_string(random() % 2)});
    life->watch(microseconds(random() % (3 * static_cast<std::uint64_t>(longest.count()) / 2)));
    cut_power(disk->path());
    life->kill_all();
    life->finish();
    disk->mount_again();
    run.remember(*life, what);
    run.check(what);
  }
  if (HasFailure()) return;
  std::cout << GetParam() << ": " << cuts << " power cuts at random times, seed " << torture_seed()
            << ", " << run.acknowledgements() << " steps acknowledged, none lost\n";
}

TEST_P(PowerCuts, AtEveryCrashPoint) {
  const auto disk = make_disk();
  const auto most = static_cast<int>(torture_setting("MUSTER_TORTURE_OCCURRENCES", 1));
  const std::int64_t step_by = torture_setting("MUSTER_TORTURE_STRIDE", 7);
  const std::vector<std::string> arguments = {"saves=3", "keep=2", "again=1"};
  TortureRun plan(scratch_.path() / "checkpoints", torture_seed(), 40);
  plan.start(2, {"saves=2"})->finish();
  const std::vector<PlannedCrash> planned = planned_crashes(plan, 2, arguments, most);
  std::int64_t cuts = 0;
  for (std::size_t i = 0; i < planned.size() && !HasFailure();
       i += static_cast<std::size_t>(step_by)) {
    const std::string what = std::string(GetParam()) + ", " + planned[i].argument("power");
    TortureRun run(disk->path() / ("checkpoints-" + std::to_string(i)), torture_seed(), 40);
    const auto before = run.start(2, {"saves=2"});
    ASSERT_EQ(before->finish(), 0);
    run.remember(*before, what);
    std::vector<std::string> crashing = arguments;
    crashing.push_back(planned[i].argument("power"));
    const auto life = run.start(2, crashing);
    ASSERT_EQ(life->finish(), kKilled) << what << ": expected the point to be passed";
    disk->mount_again();
    run.remember(*life, what);
    run.check(what);
    ++cuts;
  }
  std::cout << GetParam() << ": " << cuts << " power cuts at crash points, of " << planned.size()
            << "\n";
}

class FullDisks : public DiskTorture {};
INSTANTIATE_TEST_SUITE_P(CheckpointTorture, FullDisks, ::testing::Values("tmpfs", "ext4", "xfs"));

/// Leaves `megabytes` free, also of what is kept for root.
void fill(const std::filesystem::path& directory, std::uint64_t megabytes) {
  const std::filesystem::path ballast = directory / "ballast";
  const std::string block(1 << 20, 'x');
  std::ofstream file(ballast, std::ios::binary);
  while (file << block << std::flush) {
  }
  file.close();
  std::filesystem::resize_file(ballast, std::filesystem::file_size(ballast) - (megabytes << 20));
}

TEST_P(FullDisks, AreNamedAndSavesGoOnOnceThereIsSpace) {
  const auto disk = make_disk();
  TortureRun run(disk->path() / "checkpoints", torture_seed(), 4000);
  const auto before = run.start(2, {"saves=2", "keep=2"});
  ASSERT_EQ(before->finish(), 0);
  run.remember(*before, "before");
  fill(disk->path(), 2);
  const auto full = run.start(2, {"saves=2", "keep=2", "failures=2"});
  EXPECT_EQ(full->finish(), 0);
  EXPECT_THAT(full->saved(), IsEmpty());
  EXPECT_THAT(full->failures(), Contains(AllOf(HasSubstr("saving step-00000003"),
                                               HasSubstr("ENOSPC"), HasSubstr("free space"))));
  run.remember(*full, "a full disk");
  run.check("a full disk");
  EXPECT_EQ(run.start(2, {"saves=2"})->finish(), kCheckpointError) << "none may fail";
  std::filesystem::remove(disk->path() / "ballast");
  const auto after = run.start(2, {"saves=2"});
  EXPECT_EQ(after->finish(), 0);
  EXPECT_EQ(after->last_saved(), 4);
  run.remember(*after, "space again");
  run.check("space again");
}

class ReadOnlyDisks : public DiskTorture {};
INSTANTIATE_TEST_SUITE_P(CheckpointTorture, ReadOnlyDisks,
                         ::testing::Values("tmpfs", "ext4", "xfs"));

TEST_P(ReadOnlyDisks, AreNamedAndStillRead) {
  const auto disk = make_disk();
  TortureRun run(disk->path() / "checkpoints", torture_seed(), 400);
  const auto before = run.start(2, {"saves=2"});
  ASSERT_EQ(before->finish(), 0);
  run.remember(*before, "before");
  disk->make_read_only(true);
  const auto life = run.start(2, {"saves=2"});
  EXPECT_EQ(life->finish(), kCheckpointError);
  EXPECT_THAT(life->errors(), Contains(AllOf(HasSubstr("checkpoints"), HasSubstr("EROFS"),
                                             HasSubstr("choose another checkpoint directory"))));
  const auto env = make_system_env();
  const auto newest =
      checkpoint::CheckpointStore(disk->path() / "checkpoints", *env).newest_valid();
  ASSERT_TRUE(newest.has_value());
  EXPECT_EQ(newest->manifest().step, 2);
  disk->make_read_only(false);
  run.check("writable again");
}

class WithoutDirectIo : public DiskTorture {};
INSTANTIATE_TEST_SUITE_P(CheckpointTorture, WithoutDirectIo, ::testing::Values("ramfs"));

TEST_P(WithoutDirectIo, CheckpointsGoThroughThePageCacheWithAWord) {
  const auto disk = make_disk();
  const auto directory = disk->path() / "checkpoints";
  const std::string muster = std::string(MUSTER_BIN_DIR) + "/muster";
  std::vector<std::string> words = {muster,      "run",
                                    "-n",        "2",
                                    "--log-dir", (scratch_.path() / "logs").string(),
                                    "--",        std::string(MUSTER_BIN_DIR) + "/char_gpt"};
  const std::vector<std::string> options = char_gpt_options(1);
  words.insert(words.end(), options.begin(), options.end());
  // Of a few MiB: small files are not written by direct I/O anywhere.
  words.insert(words.end(), {"--width", "256", "--checkpoint-dir", directory.string()});
  const ProgramResult result = Program(words, scratch_.path()).wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("checkpoints in " + directory.string() +
                                    " are written through the page cache, not by direct I/O: "));
  const ProgramResult verified =
      Program({muster, "verify", directory.string()}, scratch_.path()).wait();
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
}

}  // namespace
}  // namespace muster::testing
