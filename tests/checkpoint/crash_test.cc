// A save that fails or dies at any call to the file system, with or without a power cut, leaves a
// restorable checkpoint.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <ostream>

#include "memory_env.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int kWriters = 2;
// Far more calls than a save makes: a loop that ends here found no save that succeeds.
constexpr std::int64_t kTooManyCalls = 1000;

struct Crash {
  Failure failure;
  int errno_value;
  bool power_cut;
};

std::string describe(const Crash& crash, std::int64_t call) {
  return std::string(crash.failure == Failure::kOnce ? "one failure" : "death") + " by " +
         errno_text(crash.errno_value) + (crash.power_cut ? " and a power cut" : "") + " at call " +
         std::to_string(call);
}

void PrintTo(const Crash& crash, std::ostream* out) { *out << describe(crash, 0); }

const Crash kCrashes[] = {
    {Failure::kOnce, ENOSPC, false}, {Failure::kOnce, EIO, false}, {Failure::kOnce, EIO, true},
    {Failure::kDeath, EIO, false},   {Failure::kDeath, EIO, true},
};

/// A run that has checkpoint 1 and saves another while call `call` fails. Returns whether the save
/// succeeded.
class CrashingRun {
 public:
  CrashingRun() : store_("/run/checkpoints", env_) {
    store_.prepare();
    save(store_, before_, 1, kWriters);
  }

  /// Returns whether the save was reported done.
  bool save_failing_at(std::int64_t call, const Crash& crash, std::int64_t step) {
    env_.fail_at(call, crash.failure, crash.errno_value);
    bool saved = true;
    try {
      save(store_, after_, step, kWriters, 1);
      store_.retain({.keep_last = 2});
    } catch (const CheckpointError& error) {
      saved = false;
      EXPECT_THAT(error.what(), HasSubstr(errno_text(crash.errno_value))) << describe(crash, call);
    }
    reached_failure_ = env_.calls() > call;
    env_.stop_failing();
    if (crash.power_cut) env_.lose_power();
    return saved;
  }

  /// What the next run finds: the step it restores, 0 for none; its bytes are checked.
  std::int64_t restored_step() {
    CheckpointStore next("/run/checkpoints", env_);
    next.prepare();
    const std::optional<Checkpoint> newest = next.newest_valid();
    if (!newest) return 0;
    const bool is_before = first_difference(*newest, before_).empty();
    const bool is_after = first_difference(*newest, after_).empty();
    EXPECT_TRUE(is_before || is_after);
    restored_new_state_ = is_after;
    for (const std::string& name : env_.list_directory("/run/checkpoints")) {
      EXPECT_THAT(name, ::testing::Not(HasSubstr("damaged")))
          << "only whole checkpoints get the name";
      EXPECT_THAT(name, ::testing::StartsWith("step-"));
    }
    return newest->manifest().step;
  }

  /// False when the save had ended before the call that was to fail.
  bool reached_failure() const { return reached_failure_; }
  bool restored_new_state() const { return restored_new_state_; }

 private:
  MemoryEnv env_;
  CheckpointStore store_;
  const SampleState before_ = tiny_state(1);
  const SampleState after_ = tiny_state(2);
  bool reached_failure_ = false;
  bool restored_new_state_ = false;
};

class CrashTest : public ::testing::TestWithParam<Crash> {};

INSTANTIATE_TEST_SUITE_P(EveryKind, CrashTest, ::testing::ValuesIn(kCrashes));

TEST_P(CrashTest, AnInterruptedSaveLeavesTheCheckpointBefore) {
  std::int64_t call = 0;
  for (bool reached = true; reached; ++call) {
    CrashingRun run;
    const bool saved = run.save_failing_at(call, GetParam(), 2);
    reached = run.reached_failure();
    const std::int64_t step = run.restored_step();
    // A save that was reported done is there; one that was not may be there, whole.
    ASSERT_THAT(step, AnyOf(saved ? 2 : 1, 2)) << describe(GetParam(), call);
    ASSERT_LT(call, kTooManyCalls);
  }
  EXPECT_GT(call, 20) << "a save makes more calls than this";
}

TEST_P(CrashTest, AnInterruptedReplacementLeavesTheOldOrTheNew) {
  bool reached = true;
  for (std::int64_t call = 0; reached; ++call) {
    CrashingRun run;
    const bool saved = run.save_failing_at(call, GetParam(), 1);
    reached = run.reached_failure();
    ASSERT_EQ(run.restored_step(), 1) << describe(GetParam(), call);
    if (saved) {
      ASSERT_TRUE(run.restored_new_state()) << describe(GetParam(), call);
    }
    ASSERT_LT(call, kTooManyCalls);
  }
}

TEST_P(CrashTest, AnInterruptedRetentionDeletesNoMoreThanItMay) {
  const Crash& crash = GetParam();
  // One whose bytes the disk fails to deliver counts as damaged, and the one before stands in.
  const bool may_lose_newest = crash.failure == Failure::kOnce && crash.errno_value == EIO;
  bool reached = true;
  for (std::int64_t call = 0; reached; ++call) {
    MemoryEnv env;
    CheckpointStore store("/run/checkpoints", env);
    store.prepare();
    for (int step = 1; step <= 4; ++step) save(store, tiny_state(1), step);
    env.fail_at(call, crash.failure, crash.errno_value);
    message_of([&] { store.retain({.keep_last = 2}); });
    reached = env.calls() > call;
    env.stop_failing();
    if (crash.power_cut) env.lose_power();
    store.prepare();
    ASSERT_THAT(store.newest_valid()->manifest().step, AnyOf(4, may_lose_newest ? 3 : 4))
        << describe(crash, call);
    std::size_t complete = 0;
    for (const Info& info : store.list()) {
      EXPECT_TRUE(info.complete) << info.path << ", " << describe(crash, call);
      ++complete;
    }
    ASSERT_GE(complete, 2u) << describe(crash, call);
    ASSERT_LT(call, kTooManyCalls);
  }
}

// No next run, no prepare(): the run that could not replace a checkpoint still has it.
TEST(ReplacementTest, AFailedReplacementIsUndoneAtOnce) {
  bool reached = true;
  for (std::int64_t call = 0; reached; ++call) {
    MemoryEnv env;
    CheckpointStore store("/run/checkpoints", env);
    store.prepare();
    save(store, tiny_state(1), 1);
    env.fail_at(call, Failure::kOnce, ENOSPC);
    message_of([&] { save(store, tiny_state(2), 1); });
    reached = env.calls() > call;
    env.stop_failing();
    ASSERT_TRUE(store.newest_valid()) << "call " << call;
    ASSERT_LT(call, kTooManyCalls);
  }
}

TEST(PrepareCrashTest, AnInterruptedPrepareCanBeRepeated) {
  // Between the two renames of a replacement, the worst that prepare() can find.
  const Crash crash{Failure::kDeath, EIO, true};
  bool reached = true;
  for (std::int64_t call = 0; reached; ++call) {
    MemoryEnv env;
    CheckpointStore store("/run/checkpoints", env);
    store.prepare();
    save(store, tiny_state(1), 1);
    write_shards(store, tiny_state(2), 2, kWriters);
    env.rename("/run/checkpoints/step-00000001", "/run/checkpoints/.replaced-step-00000001");
    env.fail_at(call, crash.failure, crash.errno_value);
    message_of([&] { store.prepare(); });
    reached = env.calls() > call;
    env.stop_failing();
    env.lose_power();
    store.prepare();
    ASSERT_TRUE(store.newest_valid()) << describe(crash, call);
    ASSERT_LT(call, kTooManyCalls);
  }
}

// As a power cut leaves it for a process that lives on: the run must not begin anew.
TEST(DyingDiskTest, IsNotTakenForAnEmptyOne) {
  MemoryEnv env;
  CheckpointStore store("/run/checkpoints", env);
  store.prepare();
  for (int step = 1; step <= 2; ++step) save(store, tiny_state(1), step);
  // Each call after the directory was looked for and listed.
  env.fail_at(2, Failure::kDeath, EIO);
  EXPECT_THAT(message_of([&] { store.newest_valid(); }),
              ::testing::AllOf(HasSubstr("neither be read nor set aside"), HasSubstr("EIO")));
  env.stop_failing();
  EXPECT_EQ(store.newest_valid()->manifest().step, 2);
}

TEST(FullDiskTest, ADiskThatIsFullIsNamedAndTheNextSaveWorks) {
  MemoryEnv env;
  CheckpointStore store("/run/checkpoints", env);
  store.prepare();
  save(store, tiny_state(1), 1);
  env.fail_at(2, Failure::kOnce, ENOSPC);
  const std::string message = message_of([&] { save(store, tiny_state(2), 2); });
  EXPECT_THAT(message,
              ::testing::AllOf(HasSubstr("step-00000002"), HasSubstr("rank-00000-of-00001.h5"),
                               HasSubstr("ENOSPC"), HasSubstr("free space")));
  EXPECT_FALSE(env.exists("/run/checkpoints/.attempt-step-00000002-g0/rank-00000-of-00001.h5"))
      << "a partial file must not keep the disk full";
  save(store, tiny_state(3), 3);
  EXPECT_EQ(store.newest_valid()->manifest().step, 3);
}

}  // namespace
}  // namespace muster::checkpoint
