// Directories that change while they are looked at, as those of a run that lives do.
#include "commands/run_listing.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <utility>

#include "commands/checkpoint_path.h"
#include "commands/store_commands.h"
#include "launcher/muster_process.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"

namespace muster::launcher::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// The real one, for others to change.
class EnvOfFiles : public Env {
 public:
  std::unique_ptr<ReadableFile> open_file(const fs::path& path) override {
    return real_->open_file(path);
  }
  std::vector<std::string> list_directory(const fs::path& path) override {
    return real_->list_directory(path);
  }
  bool exists(const fs::path& path) override { return real_->exists(path); }
  std::unique_ptr<WritableFile> create_file(const fs::path& path) override {
    return real_->create_file(path);
  }
  void create_directories(const fs::path& path) override { real_->create_directories(path); }
  void sync_directory(const fs::path& path) override { real_->sync_directory(path); }
  void rename(const fs::path& from, const fs::path& to) override { real_->rename(from, to); }
  void remove_all(const fs::path& path) override { real_->remove_all(path); }
  std::chrono::system_clock::time_point now() override { return real_->now(); }

 private:
  const std::unique_ptr<Env> real_ = make_system_env();
};

/// `change` happens before its `call`-th look at a file or directory.
class LivelyEnv : public EnvOfFiles {
 public:
  LivelyEnv(int call, std::function<void()> change) : calls_left_(call), change_(change) {}

  std::unique_ptr<ReadableFile> open_file(const fs::path& path) override {
    pass();
    return EnvOfFiles::open_file(path);
  }
  std::vector<std::string> list_directory(const fs::path& path) override {
    pass();
    return EnvOfFiles::list_directory(path);
  }

  bool has_changed() const { return calls_left_ < 0; }

 private:
  void pass() {
    if (calls_left_-- == 0) change_();
  }

  int calls_left_;
  const std::function<void()> change_;
};

/// What is at s3://bucket/ is in `directory`.
class StoreLikeEnv : public EnvOfFiles {
 public:
  explicit StoreLikeEnv(fs::path directory) : directory_(std::move(directory)) {}

  std::unique_ptr<ReadableFile> open_file(const fs::path& path) override {
    return EnvOfFiles::open_file(there(path));
  }
  std::vector<std::string> list_directory(const fs::path& path) override {
    return EnvOfFiles::list_directory(there(path));
  }
  bool exists(const fs::path& path) override { return EnvOfFiles::exists(there(path)); }

 private:
  fs::path there(const fs::path& path) const {
    return directory_ / path.string().substr(std::string("s3://bucket/").size());
  }

  const fs::path directory_;
};

class RunListingTest : public ::testing::Test {
 protected:
  void save(std::int64_t step) {
    const float weight[] = {1, 2, 3};
    const std::vector<checkpoint::SourceRange> sources = {
        {checkpoint::whole_tensor("model.weight", DType::kFloat32, {3}), weight}};
    store_.prepare();
    store_.commit(step, 0, {store_.write_shard(step, 0, 0, 1, sources)}, Json::object());
  }
  void remove(std::vector<std::int64_t> steps) { store_.remove(steps); }

  std::vector<std::string> listed(Env& env) { return listed(env, directory_.path() / "run"); }
  std::vector<std::string> listed(Env& env, const fs::path& path) {
    std::vector<std::string> lines;
    for (const ListedCheckpoint& one : list_run(path, "", env))
      lines.push_back(std::to_string(one.step) + " " + one.state + one.problem);
    return lines;
  }

  /// The step of what is inspected at `path`, or why none is.
  std::string inspected(Env& env, const std::string& path) {
    std::string error;
    ::testing::internal::CaptureStdout();
    try {
      inspect_in(env, {path, "--json"});
    } catch (const Error& e) {
      error = e.what();
    }
    const std::string output = ::testing::internal::GetCapturedStdout();
    return error.empty() ? parse_json(output, "output")["step"].dump() : error;
  }

  TemporaryDirectory directory_;
  const std::unique_ptr<Env> env_ = make_system_env();
  checkpoint::CheckpointStore store_{directory_.path() / "run", *env_};
};

TEST_F(RunListingTest, IsOfOneMomentWheneverARunDeletesItsOldOnes) {
  for (int call = 0;; ++call) {
    for (const std::int64_t step : {1, 2, 3}) save(step);
    LivelyEnv env(call, [&] {
      save(4);
      remove({1, 2});
    });
    const std::vector<std::string> found = listed(env);
    if (!env.has_changed()) break;
    EXPECT_THAT(found, AnyOf(ElementsAre("1 complete", "2 complete", "3 complete"),
                             ElementsAre("3 complete", "4 complete")))
        << call;
    remove({3, 4});
    ASSERT_LT(call, 100);
  }
}

// As of a store, of which any request may fail.
TEST_F(RunListingTest, NoAnswerIsNotDamage) {
  for (const std::int64_t step : {1, 2}) save(step);
  const fs::path run = directory_.path() / "run";
  const auto no_answer = [&] { throw FileError("open (503)", run, EHOSTUNREACH); };
  for (int call = 0;; ++call) {
    LivelyEnv lists(call, no_answer), opens(call, no_answer), verifies(call, no_answer);
    try {
      EXPECT_THAT(listed(lists), Each(AnyOf(EndsWith(" complete"),
                                            AllOf(HasSubstr(" unreadable"), HasSubstr("503")))))
          << call;
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), HasSubstr("503"));
    }
    try {
      EXPECT_EQ(open_newest_at(run, "inspect", opens).manifest().step, 2) << call;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("503"));
    }
    ::testing::internal::CaptureStdout();
    try {
      const int exit_code = verify_in(verifies, {run});
      EXPECT_EQ(exit_code, verifies.has_changed() ? 74 : 0) << call;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("503"));
    }
    EXPECT_THAT(::testing::internal::GetCapturedStdout(), Not(HasSubstr("damaged"))) << call;
    if (!lists.has_changed() && !opens.has_changed() && !verifies.has_changed()) break;
    ASSERT_LT(call, 100);
  }
}

TEST_F(RunListingTest, VerifyDoesNotCallDamagedWhatWasDeleted) {
  for (int call = 0;; ++call) {
    for (const std::int64_t step : {1, 2, 3}) save(step);
    LivelyEnv env(call, [&] { remove({1, 2}); });
    EXPECT_EQ(verify_in(env, {directory_.path() / "run"}), 0) << call;
    if (!env.has_changed()) break;
    ASSERT_LT(call, 100);
  }
  LivelyEnv env(1, [&] { remove({3}); });
  EXPECT_THROW(verify_in(env, {directory_.path() / "run" / "step-00000003"}), CheckpointError);
}

TEST_F(RunListingTest, VerifyLooksAgainWhereAllWereDeleted) {
  const std::string run = directory_.path() / "run";
  for (int call = 0;; ++call) {
    for (const std::int64_t step : {1, 2}) save(step);
    LivelyEnv env(call, [&] {
      save(3);
      remove({1, 2});
    });
    EXPECT_EQ(verify_in(env, {run}), 0) << call;
    if (!env.has_changed()) break;
    remove({3});
    ASSERT_LT(call, 100);
  }
}

TEST_F(RunListingTest, TheNewestIsChosenAgainWhereItWasDeleted) {
  const std::string run = directory_.path() / "run";
  for (int call = 0;; ++call) {
    for (const std::int64_t step : {1, 2}) save(step);
    LivelyEnv env(call, [&] {
      save(3);
      remove({1, 2});
    });
    EXPECT_THAT(inspected(env, run), AnyOf("2", "3")) << call;
    if (!env.has_changed()) break;
    remove({3});
    ASSERT_LT(call, 100);
  }
  save(1);
  LivelyEnv env(1, [&] { remove({1}); });
  EXPECT_THROW(inspect_in(env, {run + "/step-00000001"}), Error) << "a name means that one";
}

TEST_F(RunListingTest, TheNewestIsNotChosenForEver) {
  save(1);
  std::int64_t step = 1;
  int choices = 0;
  EXPECT_THROW(with_newest_at(directory_.path() / "run", "inspect", *env_,
                              [&](const checkpoint::Checkpoint& chosen) -> int {
                                ++choices;
                                EXPECT_EQ(chosen.manifest().step, step);
                                save(step + 1);
                                remove({step++});
                                throw CheckpointError("gone");
                              }),
               CheckpointError);
  EXPECT_EQ(choices, kMostChoices);
}

// There a manifest is uploaded last and deleted first.
TEST_F(RunListingTest, InAStoreACheckpointWithoutManifestIsBeingWritten) {
  for (const std::int64_t step : {1, 2}) save(step);
  const fs::path manifest = directory_.path() / "run/step-00000002/manifest.json";
  fs::remove(manifest);
  StoreLikeEnv store(directory_.path());
  const std::string url = "s3://bucket/run", unfinished = url + "/step-00000002";
  EXPECT_THAT(listed(store, url), ElementsAre("1 complete", "2 being written"));
  EXPECT_EQ(verify_in(store, {url}), 0);
  EXPECT_EQ(inspected(store, url), "1");
  // By its name, and on disk, it is damaged.
  EXPECT_EQ(verify_in(store, {unfinished}), 74);
  EXPECT_THAT(inspected(store, unfinished), HasSubstr("manifest.json"));
  EXPECT_THAT(listed(*env_), ElementsAre("1 complete", StartsWith("2 damaged")));
  EXPECT_EQ(verify_in(*env_, {directory_.path() / "run"}), 74);

  std::ofstream(manifest) << "{";
  EXPECT_THAT(listed(store, url), ElementsAre("1 complete", StartsWith("2 damaged")));
  EXPECT_EQ(verify_in(store, {url}), 74);
  remove({1});
  fs::remove(manifest);
  EXPECT_THROW(verify_in(store, {url}), CheckpointError);
}

}  // namespace
}  // namespace muster::launcher::testing
