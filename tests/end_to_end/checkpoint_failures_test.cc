// A save that fails on one rank fails on all: the run ends with the checkpoint's name and exit code
// 74, or goes on under --checkpoint-failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job.h"

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Saves at steps 3, 6, 9 and 12; rank 1 cannot write its part of that of step `blocked`, or rank 0
/// not the manifest, nor those of the `times` - 1 steps after it.
Job blocked_job(const std::string& file, int blocked, int times, int failures_allowed) {
  return Job(MUSTER_LINE_FIT, {"--logical-ranks", "2", "--steps", "12", "--checkpoint-every", "3",
                               "--keep-checkpoints", "9", "--block-file", file, "--block-save",
                               std::to_string(blocked), "--block-times", std::to_string(times),
                               "--checkpoint-failures", std::to_string(failures_allowed)});
}

std::vector<std::string> saved(const Job& job) {
  std::vector<std::string> names;
  for (const auto& path : job.checkpoint_paths()) names.push_back(path.filename());
  return names;
}

class CheckpointFailures : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Of, CheckpointFailures,
                         ::testing::Values("rank-00001-of-00002.h5", "manifest.json"));

TEST_P(CheckpointFailures, EndTheRunByDefault) {
  Job job = blocked_job(GetParam(), 6, 1, 0);
  const ProgramResult result = job.run(2);
  EXPECT_EQ(result.exit_code, kCheckpointError) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("CheckpointError"), HasSubstr("saving step-00000006"),
                                HasSubstr(GetParam()), HasSubstr("EISDIR")));
  EXPECT_THAT(saved(job), ElementsAre("step-00000003"));
}

TEST_P(CheckpointFailures, AreForgivenAsOftenInARowAsAllowed) {
  Job job = blocked_job(GetParam(), 6, 1, 1);
  const ProgramResult result = job.run(2);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out + result.err,
              AllOf(HasSubstr("training goes on"), HasSubstr("saving step-00000006")));
  EXPECT_THAT(saved(job), ElementsAre("step-00000003", "step-00000009", "step-00000012"));
  Job twice = blocked_job(GetParam(), 6, 4, 1);
  EXPECT_EQ(twice.run(2).exit_code, kCheckpointError);
  EXPECT_THAT(saved(twice), ElementsAre("step-00000003"));
}

TEST(CheckpointFailuresTest, TheLastSaveOfARunIsNotForgiven) {
  Job job = blocked_job("rank-00001-of-00002.h5", 12, 1, 9);
  const ProgramResult result = job.run(2);
  EXPECT_EQ(result.exit_code, kCheckpointError) << result.err;
  EXPECT_THAT(result.err, HasSubstr("saving step-00000012"));
}

// Written by 4 ranks with sharded parameters; read by any number of ranks at any stage, with the
// weights beside the module and in it, and trained on by a step.
TEST(AnyToAny, ACheckpointIsReadAtEveryWorldSizeAndStage) {
  std::vector<std::string> options = char_gpt_options(5);
  options.insert(options.end(),
                 {"--logical-ranks", "8", "--micro-batch", "1", "--checkpoint-every", "4"});
  Job calm("char_gpt", options);
  ASSERT_EQ(calm.run(4, {}, {"--zero-stage", "3"}).exit_code, 0);
  for (const int world_size : {1, 2, 3, 8}) {
    for (const int stage : {0, 1, 2, 3}) {
      SCOPED_TRACE("world size " + std::to_string(world_size) + ", stage " + std::to_string(stage));
      Job reader("char_gpt", options);
      std::filesystem::copy(calm.checkpoints(), reader.checkpoints(),
                            std::filesystem::copy_options::recursive);
      std::filesystem::remove_all(reader.checkpoints() / "step-00000005");
      const char* offload = (world_size + stage) % 2 == 0 ? "optimizer" : "none";
      const ProgramResult result =
          reader.run(world_size, {}, {"--zero-stage", std::to_string(stage), "--offload", offload});
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(reader.state_hash(), calm.state_hash());
      EXPECT_EQ(reader.metrics(), calm.metrics());
    }
  }
}

}  // namespace
}  // namespace muster::testing
