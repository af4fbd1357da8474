// A checkpoint larger than half of the memory there is: it is saved and restored in bounded memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "subprocess.h"
#include "torture/torture_run.h"

namespace muster::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr std::int64_t kStateKilobytes = 150'000;

TEST(CheckpointMemory, AStateLargerThanHalfOfItIsSavedAndRestored) {
  const std::string memory = "memory=" + std::to_string(256 << 20);
  ScratchDirectory scratch;
  TortureRun run(scratch.path() / "checkpoints", 1, kStateKilobytes);
  const auto first = run.start(1, {memory, "staging=" + std::to_string(16 << 20), "saves=1"});
  EXPECT_EQ(first->finish(), 0) << ::testing::PrintToString(first->errors());
  EXPECT_EQ(first->last_saved(), 1);
  run.remember(*first, "the first life");
  const auto second = run.start(1, {memory, "staging=0", "saves=1"});
  EXPECT_EQ(second->finish(), 0) << ::testing::PrintToString(second->errors());
  EXPECT_EQ(second->restored(), 1);
  EXPECT_EQ(second->last_saved(), 2);
  run.remember(*second, "the second life");
  run.check("both lives");
}

TEST(CheckpointMemory, StagingThatDoesNotFitIsAnErrorThatSaysSo) {
  ScratchDirectory scratch;
  TortureRun run(scratch.path() / "checkpoints", 1, kStateKilobytes);
  const auto life = run.start(1, {"memory=" + std::to_string(256 << 20), "saves=1"});
  EXPECT_EQ(life->finish(), kCheckpointError);
  EXPECT_THAT(life->errors(), Contains(HasSubstr("memory for a checkpoint: expected")));
}

}  // namespace
}  // namespace muster::testing
