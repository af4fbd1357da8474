// Saving in the background: the caller's memory is free at once, errors come back once, one save at
// a time.
#include "muster/checkpoint/async_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <future>

#include "memory_env.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Holds the background thread at the creation of a file until the test opens the gate.
class GatedEnv : public MemoryEnv {
 public:
  std::unique_ptr<WritableFile> create_file(const std::filesystem::path& path) override {
    if (path.filename().string().starts_with("rank-")) gate_.get_future().wait();
    return MemoryEnv::create_file(path);
  }
  void open_gate() { gate_.set_value(); }

 private:
  std::promise<void> gate_;
};

class AsyncWriterTest : public ::testing::Test {
 protected:
  AsyncWriterTest() : store_("/run/checkpoints", env_) { store_.prepare(); }

  void start(AsyncWriter& writer, std::int64_t step, const SampleState& state) {
    writer.start_shard(step, 0, 0, 1, shard_of(state, 0, 1));
  }
  Committed commit(AsyncWriter& writer, const ShardWritten& written, Retention retention = {}) {
    writer.start_commit(written.step, 0, {written.record}, sample_run_state(written.step),
                        retention);
    return writer.wait_commit();
  }

  MemoryEnv env_;
  CheckpointStore store_;
};

TEST_F(AsyncWriterTest, SavesWhatWasThereWhenTheSaveStarted) {
  GatedEnv env;
  CheckpointStore store("/run/checkpoints", env);
  store.prepare();
  AsyncWriter writer(store);
  const SampleState state = sample_state(1, true);
  SampleState live = state;
  writer.start_shard(7, 0, 0, 1, shard_of(live, 0, 1));
  EXPECT_EQ(writer.poll_shard().has_value(), false);
  EXPECT_FALSE(writer.idle());
  // The step goes on while the writer has not written a byte.
  for (SampleTensor& tensor : live) std::fill(tensor.data.begin(), tensor.data.end(), std::byte{9});
  env.open_gate();
  const ShardWritten written = writer.wait_shard();
  EXPECT_EQ(written.step, 7);
  const Committed committed = commit(writer, written);
  EXPECT_EQ(committed.step, 7);
  EXPECT_TRUE(writer.idle());
  EXPECT_EQ(committed.path, "/run/checkpoints/step-00000007");
  EXPECT_EQ(first_difference(Checkpoint::open(committed.path, env), state), "");
}

TEST_F(AsyncWriterTest, PollingFetchesTheResultOnce) {
  AsyncWriter writer(store_);
  start(writer, 1, sample_state(1));
  std::optional<ShardWritten> written;
  while (!written) written = writer.poll_shard();
  EXPECT_TRUE(writer.idle());
  EXPECT_THROW(writer.poll_shard(), InternalError);
  writer.start_commit(1, 0, {written->record}, Json::object(), {});
  std::optional<Committed> committed;
  while (!committed) committed = writer.poll_commit();
  EXPECT_EQ(store_.newest_valid()->manifest().step, 1);
}

TEST_F(AsyncWriterTest, RetiresAfterCommitting) {
  AsyncWriter writer(store_);
  const SampleState state = sample_state(1);
  for (int step = 1; step <= 3; ++step) {
    start(writer, step, state);
    const Committed committed = commit(writer, writer.wait_shard(), {.keep_last = 2});
    if (step == 3) {
      EXPECT_THAT(committed.retired, ElementsAre("/run/checkpoints/step-00000001"));
    }
  }
  EXPECT_THAT(env_.list_directory("/run/checkpoints"),
              ElementsAre("step-00000002", "step-00000003"));
}

TEST_F(AsyncWriterTest, AnErrorComesBackOnceAndTheWriterGoesOn) {
  AsyncWriter writer(store_);
  const SampleState state = sample_state(1);
  env_.fail_at(1, Failure::kOnce, ENOSPC);
  start(writer, 1, state);
  EXPECT_THAT(message_of([&] { writer.wait_shard(); }),
              ::testing::AllOf(HasSubstr("step-00000001"), HasSubstr("ENOSPC")));
  EXPECT_TRUE(writer.idle());
  start(writer, 2, state);
  commit(writer, writer.wait_shard());
  EXPECT_EQ(store_.newest_valid()->manifest().step, 2);
}

TEST_F(AsyncWriterTest, AnErrorOfTheCommitComesBackToo) {
  AsyncWriter writer(store_);
  start(writer, 1, sample_state(1));
  ShardWritten written = writer.wait_shard();
  written.record.ranges.pop_back();
  written.record.ranges.front().range.begin = 1;
  EXPECT_THAT(message_of([&] { commit(writer, written); }), HasSubstr("in no file"));
}

TEST_F(AsyncWriterTest, TheNextStartThrowsTheErrorThatNoOneFetched) {
  AsyncWriter writer(store_);
  env_.fail_at(0, Failure::kOnce, EIO);
  start(writer, 1, sample_state(1));
  std::string message = "no error";
  while (message == "no error") {
    message = message_of([&] {
      try {
        start(writer, 2, sample_state(1));
        ADD_FAILURE() << "expected the error of step 1";
      } catch (const InternalError&) {
        // Still running.
      }
    });
  }
  EXPECT_THAT(message, HasSubstr("step-00000001"));
}

TEST_F(AsyncWriterTest, OneSaveAtATime) {
  AsyncWriter writer(store_);
  start(writer, 1, sample_state(1));
  EXPECT_THROW(start(writer, 2, sample_state(1)), InternalError);
  writer.wait_shard();
  EXPECT_THROW(writer.wait_shard(), InternalError);
  EXPECT_THROW(writer.poll_commit(), InternalError);
}

TEST_F(AsyncWriterTest, ABadSourceThrowsAtOnceAndLeavesTheWriterIdle) {
  AsyncWriter writer(store_);
  const std::vector<SourceRange> sources = {{whole_tensor("w", DType::kFloat32, {2}), nullptr}};
  EXPECT_THAT(message_of([&] { writer.start_shard(1, 0, 0, 1, sources); }), HasSubstr("null"));
  EXPECT_TRUE(writer.idle());
}

TEST_F(AsyncWriterTest, TheDestructorWaitsForTheSave) {
  const SampleState state = sample_state(1);
  {
    AsyncWriter writer(store_);
    start(writer, 1, state);
  }
  EXPECT_TRUE(env_.exists("/run/checkpoints/.attempt-step-00000001-g0/rank-00000-of-00001.h5"));
}

TEST_F(AsyncWriterTest, StagingMemoryIsTheLargestShard) {
  AsyncWriter writer(store_);
  EXPECT_EQ(writer.staging_bytes(), 0);
  for (const bool large : {false, true, false}) {
    const SampleState state = sample_state(1, large);
    start(writer, 1, state);
    writer.wait_shard();
  }
  std::int64_t bytes = 0;
  std::int64_t large_tensors = 0;
  for (const SampleTensor& tensor : sample_state(1, true)) {
    bytes += tensor.whole.bytes();
    if (tensor.whole.bytes() >= 4096) ++large_tensors;
  }
  // A tensor of a page or more begins on a page.
  EXPECT_GE(writer.staging_bytes(), bytes);
  EXPECT_LE(writer.staging_bytes(), bytes + large_tensors * 4096);
}

TEST_F(AsyncWriterTest, ACheckpointThatRetentionReadsBackDamagedIsAnError) {
  class LyingEnv : public MemoryEnv {
   public:
    std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& path) override {
      if (path.string().find("step-00000002/rank") != std::string::npos && !told_) {
        told_ = true;  // after the commit
        content(path)[4096] ^= 1;
      }
      return MemoryEnv::open_file(path);
    }

   private:
    bool told_ = false;
  };
  LyingEnv env;
  CheckpointStore store("/run/checkpoints", env);
  store.prepare();
  AsyncWriter writer(store);
  start(writer, 1, sample_state(1));
  commit(writer, writer.wait_shard(), {.keep_last = 1});
  start(writer, 2, sample_state(2));
  const ShardWritten written = writer.wait_shard();
  EXPECT_THAT(message_of([&] { commit(writer, written, {.keep_last = 1}); }),
              ::testing::AllOf(HasSubstr("step-00000002"), HasSubstr("read back")));
  EXPECT_EQ(store.newest_valid()->manifest().step, 1);
}

}  // namespace
}  // namespace muster::checkpoint
