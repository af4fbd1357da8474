// Bad input gets one message that says what to do, the documented exit code, and leaves nothing
// behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "job.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// One message with `part` in it, on one rank's voice, and nothing left over.
void expect_failure(Job& job, int world_size, int exit_code, const std::string& part) {
  const ProgramResult result = job.run(world_size);
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  EXPECT_EQ(count(result.err, part), 1u) << result.err;
  EXPECT_THAT(processes_with(job.directory().string()), IsEmpty());
}

TEST(BadInput, UnknownFlag) {
  Job job("fashion_mnist", {"--epoch", "1"});
  expect_failure(job, 2, 64, "did you mean --epochs?");
}

TEST(BadInput, ValueOfTheWrongKind) {
  Job steps("fashion_mnist", {"--steps", "many"});
  expect_failure(steps, 2, 64, "--steps: expected a whole number, found 'many'");
  Job micro_batch("fashion_mnist", {"--micro-batch", "many"});
  expect_failure(micro_batch, 2, 64,
                 "--micro-batch: expected a whole number above 0, or auto, found 'many'");
}

TEST(BadInput, WhatTheModelDoesNotHave) {
  Job blocks("fashion_mnist", {"--activation-checkpointing"});
  expect_failure(blocks, 2, 64,
                 "--activation-checkpointing: expected a program whose model offers it");
  Job units("char_gpt", {"--units", "block.*", "--steps", "1"});
  expect_failure(units, 2, 64,
                 "units: expected names of modules that have parameters, found "
                 "'block.*'; the first parameter is tokens.weight");
}

TEST(BadInput, MissingDataSet) {
  Job job("fashion_mnist", {"--data", "/nonexistent"});
  expect_failure(job, 2, 64, "/nonexistent/train-images-idx3-ubyte.gz");
}

TEST(BadInput, FewerLogicalRanksThanRanks) {
  Job job("fashion_mnist", {"--logical-ranks", "2"});
  expect_failure(job, 4, 64, "--logical-ranks: expected at least the world size (4), found 2");
}

TEST(BadInput, CheckpointDirectoryThatCannotBeWritten) {
  Job job(MUSTER_LINE_FIT, {});
  // A directory below a regular file cannot be made, not even by root.
  std::ofstream(job.checkpoints()) << "in the way";
  expect_failure(job, 2, 74,
                 "failed with CheckpointError: checkpoint directory " + job.checkpoints().string());
}

void flip_a_bit(const fs::path& path, std::streamoff at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(at);
  file.put(byte);
}

/// When `damage` has been done to a shard of the newest checkpoint, `world_size` ranks name the
/// shard and go on from the checkpoint before, to the state of a calm run.
void expect_the_checkpoint_before(int world_size,
                                  const std::function<void(const fs::path& shard)>& damage) {
  Job calm(MUSTER_LINE_FIT, {"--checkpoint-every", "5", "--steps", "20"});
  ASSERT_EQ(calm.run(2).exit_code, 0);
  Job job(MUSTER_LINE_FIT, {"--checkpoint-every", "5", "--steps", "20"});
  ASSERT_EQ(job.run(2).exit_code, 0);
  const fs::path newest = job.checkpoint_paths().back();
  damage(newest / "rank-00001-of-00002.h5");
  const ProgramResult result = job.run(world_size);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("rank-00001-of-00002.h5"));
  EXPECT_TRUE(fs::exists(newest.string() + ".damaged"));
  EXPECT_EQ(job.state_hash(), calm.state_hash());
}

TEST(BadInput, TruncatedShardIsNamedAndTheCheckpointBeforeIsUsed) {
  expect_the_checkpoint_before(3, [](const fs::path& shard) {
    fs::resize_file(shard, fs::file_size(shard) / 2);
    const ScratchDirectory scratch;
    const ProgramResult verify =
        Program({std::string(MUSTER_BIN_DIR) + "/muster", "verify", shard.parent_path().string()},
                scratch.path())
            .wait();
    EXPECT_EQ(verify.exit_code, 74);
    EXPECT_THAT(verify.out + verify.err, HasSubstr("rank-00001-of-00002.h5"));
  });
}

TEST(BadInput, AFlippedBitThatOneRankReadsMakesAllUseTheCheckpointBefore) {
  expect_the_checkpoint_before(2, [](const fs::path& shard) {
    flip_a_bit(shard, static_cast<std::streamoff>(fs::file_size(shard)) - 3);
  });
}

TEST(BadInput, DamageInTheOnlyCheckpointEndsTheRunOnce) {
  Job job(MUSTER_LINE_FIT, {"--checkpoint-every", "5", "--steps", "5"});
  ASSERT_EQ(job.run(2).exit_code, 0);
  const fs::path only = job.checkpoint_paths().back();
  const fs::path shard = only / "rank-00001-of-00002.h5";
  flip_a_bit(shard, static_cast<std::streamoff>(fs::file_size(shard)) - 3);
  expect_failure(job, 2, 74, "start again to begin anew");
  EXPECT_TRUE(fs::exists(only.string() + ".damaged"));
  EXPECT_EQ(job.run(2).exit_code, 0);
}

TEST(BadInput, AProgramThatThrowsOnOneRank) {
  for (const char* rank : {"0", "1", "2"}) {
    Job job(MUSTER_LINE_FIT, {"--throw-at-step", "7", "--throw-on-rank", rank});
    expect_failure(job, 3, 1, "the line is bent");
  }
}

TEST(BadInput, AProgramThatCrashesAtTheSameStepEndsTheRestarts) {
  Job job(MUSTER_LINE_FIT,
          {"--throw-at-step", "7", "--throw-on-rank", "1", "--abort", "--checkpoint-every", "2"});
  const ProgramResult result = job.run(2, {"--max-restarts", "-1"});
  EXPECT_EQ(result.exit_code, 75) << result.err;
  EXPECT_THAT(result.err, HasSubstr("SIGABRT"));
}

TEST(BadInput, AnotherJobsCheckpointIsRefused) {
  Job job(MUSTER_LINE_FIT, {"--seed", "1"});
  ASSERT_EQ(job.run(2).exit_code, 0);
  const std::string hash = job.state_hash();
  Program other({std::string(MUSTER_BIN_DIR) + "/muster", "run", "-n", "2", "--log-dir",
                 (job.directory() / "logs").string(), "--", MUSTER_LINE_FIT, "--seed", "2",
                 "--checkpoint-dir", job.checkpoints().string()},
                job.directory());
  const ProgramResult result = other.wait();
  EXPECT_EQ(result.exit_code, 64) << result.err;
  EXPECT_EQ(count(result.err, "seed: expected 1, found 2"), 1u) << result.err;
  EXPECT_EQ(job.state_hash(), hash);
}

TEST(BadInput, FreshMovesTheOldRunAside) {
  Job job(MUSTER_LINE_FIT, {"--seed", "1"});
  ASSERT_EQ(job.run(2).exit_code, 0);
  const std::string hash = job.state_hash();
  Program fresh({std::string(MUSTER_BIN_DIR) + "/muster", "run", "-n", "2", "--log-dir",
                 (job.directory() / "logs").string(), "--", MUSTER_LINE_FIT, "--seed", "2",
                 "--fresh", "--checkpoint-dir", job.checkpoints().string()},
                job.directory());
  EXPECT_EQ(fresh.wait().exit_code, 0);
  EXPECT_NE(job.state_hash(), hash);
  EXPECT_TRUE(fs::exists(job.checkpoints() / "superseded-1" / "step-00000020"));
}

TEST(Interrupt, CtrlCSavesAndTheNextRunGoesOn) {
  Job calm("fashion_mnist", fashion_mnist_options(60));
  ASSERT_EQ(calm.run(1).exit_code, 0);
  Job job("fashion_mnist", fashion_mnist_options(60));
  auto program = job.start(2);
  ASSERT_TRUE(wait_until([&] { return job.step() >= 7; }, std::chrono::seconds(60)));
  program->signal(SIGINT);
  const ProgramResult result = program->wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  ASSERT_FALSE(job.checkpoint_paths().empty());
  EXPECT_GE(job.checkpoint_paths().back().filename().string(), "step-00000007");
  ASSERT_EQ(job.run(3).exit_code, 0);
  EXPECT_EQ(job.state_hash(), calm.state_hash());
}

TEST(Interrupt, SigtermIsAPreemption) {
  Job job("fashion_mnist", fashion_mnist_options(2000));
  auto program = job.start(2);
  ASSERT_TRUE(wait_until([&] { return job.step() >= 3; }, std::chrono::seconds(60)));
  program->signal(SIGTERM);
  EXPECT_EQ(program->wait().exit_code, 79);
  EXPECT_FALSE(job.checkpoint_paths().empty());
}

TEST(Interrupt, TheReaderOfItsOutputIsNotKilledWithTheRanks) {
  Job job(MUSTER_LINE_FIT, {});
  const fs::path copy = job.directory() / "copy";
  // The shell starts `cat` as a child of the process that then becomes the launcher.
  const std::string script = MUSTER_BIN_DIR "/muster run --log-dir " +
                             (job.directory() / "logs").string() + " -- /bin/true 2> >(cat >" +
                             copy.string() + ")";
  EXPECT_EQ(Program({"bash", "-c", script}, job.directory()).wait().exit_code, 0);
  const auto copied = [&] {
    std::ifstream file(copy);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_TRUE(wait_until([&] { return copied().find("done after") != std::string::npos; },
                         std::chrono::seconds(10)))
      << copied();
}

TEST(Interrupt, NothingSurvivesAKilledLauncher) {
  Job job("fashion_mnist", fashion_mnist_options(2000));
  auto program = job.start(2);
  ASSERT_TRUE(wait_until([&] { return job.step() >= 3; }, std::chrono::seconds(60)));
  program->signal(SIGKILL);
  program->wait();
  EXPECT_TRUE(wait_until([&] { return processes_with(job.directory().string()).empty(); },
                         std::chrono::seconds(5)));
}

}  // namespace
}  // namespace muster::testing
