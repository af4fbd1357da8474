// The store on a real disk and in memory: preparing, committing, listing, retiring, and setting
// damage aside.
#include "muster/checkpoint/checkpoint_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "memory_env.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CheckpointStoreTest : public ::testing::Test {
 protected:
  CheckpointStoreTest() : store_("/run/checkpoints", env_) { store_.prepare(); }

  std::vector<std::string> names() { return env_.list_directory(store_.directory()); }
  void damage(std::int64_t step) {
    env_.content(path_of(step) / "rank-00000-of-00001.h5")[5000] ^= 1;
  }
  fs::path path_of(std::int64_t step) const {
    return store_.directory() / ("step-0000000" + std::to_string(step));
  }

  MemoryEnv env_;
  CheckpointStore store_;
  const SampleState state_ = sample_state(1);
};

TEST_F(CheckpointStoreTest, SavesAndRestoresOnARealDisk) {
  const TemporaryDirectory temporary;
  const auto env = make_system_env();
  // A trailing slash and missing parents are the user's right.
  CheckpointStore store(temporary.path() / "runs" / "a" / "", *env);
  store.prepare();
  const SampleState state = sample_state(2, true);
  const fs::path path = save(store, state, 40, 3);
  EXPECT_EQ(path, temporary.path() / "runs" / "a" / "step-00000040");
  const std::optional<Checkpoint> newest = store.newest_valid();
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->directory(), path);
  EXPECT_EQ(first_difference(*newest, state), "");
  EXPECT_THAT(env->list_directory(path),
              ElementsAre("manifest.json", "model.h5", "rank-00000-of-00003.h5",
                          "rank-00001-of-00003.h5", "rank-00002-of-00003.h5"));
  EXPECT_THAT(env->list_directory(store.directory()), ElementsAre("step-00000040"));
}

TEST_F(CheckpointStoreTest, NothingIsThereBeforeTheFirstCommit) {
  EXPECT_THAT(store_.list(), IsEmpty());
  EXPECT_FALSE(store_.newest_valid());
  EXPECT_THAT(CheckpointStore("/run/none", env_).list(), IsEmpty());
  write_shards(store_, state_, 1, 2);
  EXPECT_THAT(store_.list(), IsEmpty());
  EXPECT_FALSE(store_.newest_valid());
}

TEST_F(CheckpointStoreTest, UnusableDirectoriesAreNamedWithTheCause) {
  const TemporaryDirectory temporary;
  const auto env = make_system_env();
  std::ofstream(temporary.path() / "file") << "not a directory";
  const auto message = [&](const fs::path& path) {
    CheckpointStore store(path, *env);
    return message_of([&] { store.prepare(); });
  };
  const fs::path below_file = temporary.path() / "file" / "checkpoints";
  EXPECT_THAT(message(below_file),
              AllOf(HasSubstr(below_file.string()), HasSubstr("cannot be used"),
                    HasSubstr("Not a directory"), HasSubstr("choose another")));
  EXPECT_THAT(message(temporary.path() / "file"), HasSubstr("file"));
  // Not even root can make a directory there.
  EXPECT_THAT(message("/proc/muster-checkpoints"), HasSubstr("/proc/muster-checkpoints"));
}

TEST_F(CheckpointStoreTest, AReadOnlyDirectoryIsFoundOutByWriting) {
  env_.fail_at(1, Failure::kOnce, EROFS);  // the call after creating the directory
  EXPECT_THAT(message_of([&] { store_.prepare(); }), HasSubstr("EROFS"));
}

TEST_F(CheckpointStoreTest, PrepareRemovesAttemptsOfDeadRunsAndNothingElse) {
  save(store_, state_, 1);
  write_shards(store_, state_, 2, 2, 5);
  env_.create_directories("/run/checkpoints/mine");
  EXPECT_THAT(names(), ElementsAre(".attempt-step-00000002-g5", "mine", "step-00000001"));
  store_.prepare();
  EXPECT_THAT(names(), ElementsAre("mine", "step-00000001"));
}

TEST_F(CheckpointStoreTest, CommitRemovesAttemptsThatNeverWere) {
  write_shards(store_, state_, 1, 2);
  save(store_, state_, 2);
  EXPECT_THAT(names(), ElementsAre("step-00000002"));
}

TEST_F(CheckpointStoreTest, CommitLeavesALaterAttemptThatAnotherRankAlreadyWrites) {
  store_.write_shard(9, 0, 1, 2, {});
  save(store_, state_, 5, 1);
  EXPECT_THAT(names(), ElementsAre(".attempt-step-00000009-g0", "step-00000005"));
}

TEST_F(CheckpointStoreTest, DiscardRemovesOneAttempt) {
  write_shards(store_, state_, 1, 2, 4);
  store_.discard(1, 4);
  store_.discard(1, 4);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(CheckpointStoreTest, ASecondSaveOfAStepReplacesTheFirst) {
  save(store_, state_, 1, 2);
  const SampleState other = sample_state(9);
  save(store_, other, 1, 3);
  EXPECT_THAT(names(), ElementsAre("step-00000001"));
  EXPECT_EQ(first_difference(*store_.newest_valid(), other), "");
}

TEST_F(CheckpointStoreTest, ListIsByStepAndKnowsWhatIsComplete) {
  for (const int step : {3, 1, 2}) save(store_, state_, step);
  env_.create_directories(path_of(5));
  env_.rename(path_of(1), path_of(4));  // complete, but not step 4
  env_.remove_all(path_of(2) / "rank-00000-of-00001.h5");
  std::vector<std::pair<std::int64_t, bool>> found;
  for (const Info& info : store_.list()) found.emplace_back(info.step, info.complete);
  EXPECT_THAT(found, ElementsAre(std::pair(2, false), std::pair(3, true), std::pair(4, false),
                                 std::pair(5, false)));
}

TEST_F(CheckpointStoreTest, ListTakesNoAnswerForNothingLess) {
  for (const int step : {1, 2}) save(store_, state_, step);
  for (std::int64_t call = 0;; ++call) {
    env_.fail_at(call, Failure::kOnce, EHOSTUNREACH);
    const std::string message = message_of([&] { store_.list(); });
    if (env_.calls() <= call) break;
    EXPECT_THAT(message, HasSubstr("EHOSTUNREACH")) << "call " << call;
    ASSERT_LT(call, 100);
  }
}

TEST_F(CheckpointStoreTest, ADamagedCheckpointIsSetAsideForTheOneBefore) {
  for (const int step : {1, 2, 3}) save(store_, state_, step);
  damage(3);
  EXPECT_EQ(store_.newest_valid()->manifest().step, 2);
  EXPECT_THAT(names(), ElementsAre("step-00000001", "step-00000002", "step-00000003.damaged"));
  // A second damaged one of the same step finds the name taken.
  save(store_, state_, 3);
  damage(3);
  EXPECT_EQ(store_.newest_valid()->manifest().step, 2);
  EXPECT_THAT(names(), ElementsAre("step-00000001", "step-00000002", "step-00000003.damaged",
                                   "step-00000003.damaged-2"));
}

TEST_F(CheckpointStoreTest, ADirectoryOfAnotherStepsNameIsDamage) {
  save(store_, state_, 1);
  save(store_, state_, 2);
  env_.rename(path_of(2), path_of(7));
  EXPECT_EQ(store_.newest_valid()->manifest().step, 1);
}

TEST_F(CheckpointStoreTest, NoAnswerIsNotDamage) {
  save(store_, state_, 1);
  save(store_, state_, 2);
  for (std::int64_t call = 0; call < 12; ++call) {
    env_.fail_at(call, Failure::kOnce, EMFILE);
    try {
      EXPECT_EQ(store_.newest_valid()->manifest().step, 2) << "call " << call;
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), HasSubstr("EMFILE"));
    }
    env_.stop_failing();
    EXPECT_THAT(names(), ElementsAre("step-00000001", "step-00000002")) << "call " << call;
  }
}

TEST_F(CheckpointStoreTest, CommitRefusesShardsThatAreNotThere) {
  std::vector<ShardRecord> records = write_shards(store_, state_, 1, 2);
  env_.remove_all("/run/checkpoints/.attempt-step-00000001-g0/rank-00001-of-00002.h5");
  EXPECT_THAT(message_of([&] { store_.commit(1, 0, records, Json::object()); }),
              AllOf(HasSubstr("step-00000001"), HasSubstr("rank-00001-of-00002.h5")));
  EXPECT_FALSE(store_.newest_valid());
}

TEST_F(CheckpointStoreTest, WrongSourcesAreNamed) {
  const float value = 1;
  const auto message = [&](std::vector<SourceRange> sources) {
    return message_of([&] { store_.write_shard(1, 0, 0, 1, sources); });
  };
  const auto source = [&](std::string name, std::int64_t begin, std::int64_t end) {
    return SourceRange{{std::move(name), DType::kFloat32, {1}, begin, end}, &value};
  };
  EXPECT_THAT(message({source("", 0, 1)}), HasSubstr("tensor name"));
  EXPECT_THAT(message({source("a\nb", 0, 1)}), HasSubstr("a\\nb"));
  EXPECT_THAT(message({source("\xff", 0, 1)}), HasSubstr("UTF-8"));
  EXPECT_THAT(message({source("w", 0, 2)}), HasSubstr("w float32 [1] elements [0, 2)"));
  EXPECT_THAT(message({source("w", 0, 1), source("w", 0, 1)}), HasSubstr("'w'"));
  EXPECT_THAT(message({{{"w", DType::kFloat32, {1}, 0, 1}, nullptr}}), HasSubstr("null"));
  EXPECT_THAT(message({{{"w", DType::kFloat32, {-1}, 0, 0}, &value}}), HasSubstr("[-1]"));
}

TEST_F(CheckpointStoreTest, RetainDeletesWhatTheRuleGivesUp) {
  for (int step = 1; step <= 6; ++step) save(store_, state_, step);
  EXPECT_THAT(store_.retain({.keep_last = 2, .keep_every = 3}),
              ElementsAre(path_of(1), path_of(2), path_of(4)));
  EXPECT_THAT(names(), ElementsAre("step-00000003", "step-00000005", "step-00000006"));
}

TEST_F(CheckpointStoreTest, RetainKeepsTheBestScoresTooWhateverTheyAreOf) {
  const std::vector<double> accuracies = {0.5, 0.9, 0.7, 0.9, 0.2, 0.1};
  for (std::size_t i = 0; i < accuracies.size(); ++i) {
    const auto step = static_cast<std::int64_t>(i) + 1;
    const Json metrics = {{"accuracy", accuracies[i]}, {"loss", 1 - accuracies[i]}};
    store_.commit(step, 0, write_shards(store_, state_, step, 1), {{"metrics", metrics}});
  }
  EXPECT_THAT(
      store_.retain({.keep_last = 1, .keep_every = 5, .keep_best = 3, .metric = "accuracy"}),
      ElementsAre(path_of(1)));
  EXPECT_THAT(
      store_.retain({.keep_last = 1, .keep_best = 1, .larger_is_better = false, .metric = "loss"}),
      ElementsAre(path_of(3), path_of(4), path_of(5)));
  EXPECT_THAT(names(), ElementsAre("step-00000002", "step-00000006"));
  // Best by far, but the evaluation was of an earlier step.
  const Json stale = {{"metrics", {{"loss", 0.0}}}, {"evaluated_step", 6}};
  store_.commit(7, 0, write_shards(store_, state_, 7, 1), stale);
  save(store_, state_, 8);
  EXPECT_THAT(
      store_.retain({.keep_last = 1, .keep_best = 1, .larger_is_better = false, .metric = "loss"}),
      ElementsAre(path_of(6), path_of(7)));
  EXPECT_THAT(store_.retain({.keep_last = 1, .keep_best = 1, .metric = "unknown"}),
              ElementsAre(path_of(2)));
}

TEST_F(CheckpointStoreTest, RetainNeverDeletesTheNewestValid) {
  for (int step = 1; step <= 4; ++step) save(store_, state_, step);
  damage(4);
  damage(3);
  EXPECT_THAT(store_.retain({.keep_last = 1}), ElementsAre(path_of(1)));
  EXPECT_THAT(names(),
              ElementsAre("step-00000002", "step-00000003.damaged", "step-00000004.damaged"));
}

TEST_F(CheckpointStoreTest, RetainKeepsTheNewestValidWhereADamagedNewerOneCannotBeSetAside) {
  bool reached = true;
  for (std::int64_t call = 0; reached; ++call) {
    for (int step = 1; step <= 3; ++step) save(store_, tiny_state(1), step);
    env_.content(path_of(3) / "rank-00000-of-00001.h5")[100] ^= 1;
    env_.fail_at(call, Failure::kOnce, EACCES);
    message_of([&] { store_.retain({.keep_last = 1}); });
    reached = env_.calls() > call;
    env_.stop_failing();
    ASSERT_TRUE(env_.exists(path_of(2))) << "call " << call;
    env_.remove_all(store_.directory());
    store_.prepare();
    ASSERT_LT(call, 1000);
  }
}

TEST_F(CheckpointStoreTest, RetainDeletesNothingWhereNothingIsValid) {
  for (int step = 1; step <= 2; ++step) save(store_, state_, step);
  damage(1);
  damage(2);
  EXPECT_THAT(store_.retain({.keep_last = 1}), IsEmpty());
  EXPECT_THAT(names(), ElementsAre("step-00000001.damaged", "step-00000002.damaged"));
}

}  // namespace
}  // namespace muster::checkpoint
