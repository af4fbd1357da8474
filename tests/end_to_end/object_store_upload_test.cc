// --checkpoint-upload: what is saved is in the object store as well, and a run whose disk is lost
// goes on from there with the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <sstream>

#include "job.h"
#include "object_store_server.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ObjectStoreUpload : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!ObjectStoreServer::available()) GTEST_SKIP() << ObjectStoreServer::missing();
    server_ = std::make_unique<ObjectStoreServer>();
  }

  /// The best score is that of step 20.
  static std::vector<std::string> options() {
    return {"--best-at", "20",    "--score", "min:distance",       "--keep-checkpoints",
            "1",         "--ema", "0.9",     "--checkpoint-every", "5"};
  }

  ProgramResult run(Job& job, int ranks, int steps, std::vector<std::string> more = {},
                    const std::string& url = ObjectStoreServer::url("run")) {
    more.insert(more.end(), {"--steps", std::to_string(steps), "--checkpoint-upload", url});
    return job.run(ranks, {}, more, server_->environment());
  }

  ProgramResult muster(std::vector<std::string> words) {
    words.insert(words.begin(), std::string(MUSTER_BIN_DIR) + "/muster");
    return Program(words, scratch_.path(), server_->environment()).wait();
  }

  /// Makes `name` of the object store's run another text.
  void replace(const std::string& name, const fs::path& contents) {
    server_->client("put_object(Bucket='muster-test', Key='run/" + name + "', Body=open('" +
                    contents.string() + "', 'rb'))");
  }

  ScratchDirectory scratch_;
  std::unique_ptr<ObjectStoreServer> server_;
};

/// With one bit of its last block but one changed.
fs::path damaged_copy(const fs::path& file, const fs::path& directory) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  std::string bytes = text.str();
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  const fs::path copy = directory / "damaged";
  std::ofstream(copy, std::ios::binary) << bytes;
  return copy;
}

TEST_F(ObjectStoreUpload, ARunThatLostItsDiskGoesOnWithTheSameBits) {
  Job calm(MUSTER_WATCHED_FIT, options());
  ASSERT_EQ(calm.run(2, {}, {"--steps", "60"}).exit_code, 0);

  Job job(MUSTER_WATCHED_FIT, options());
  const ProgramResult first = run(job, 2, 40);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("uploaded to s3://muster-test/run"));
  const std::string hash = job.state_hash();
  const ProgramResult listed = muster({"checkpoints", ObjectStoreServer::url("run")});
  // The rule holds there as it does on disk.
  EXPECT_THAT(listed.out, AllOf(HasSubstr("40"), HasSubstr("20"), HasSubstr("store"),
                                Not(HasSubstr("35")), Not(HasSubstr("15"))));
  EXPECT_THAT(muster({"inspect", ObjectStoreServer::url("run")}).out, HasSubstr(hash));

  fs::remove_all(job.checkpoints());
  const ProgramResult second = run(job, 3, 60, {"--zero-stage", "3"});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, AllOf(HasSubstr("downloaded s3://muster-test/run/step-00000040"),
                                HasSubstr("downloaded s3://muster-test/run/step-00000020"),
                                HasSubstr("resumed at step 40")));
  EXPECT_EQ(job.state_hash(), calm.state_hash());
  EXPECT_THAT(job.checkpoint_names(), ElementsAre("step-00000020", "step-00000060"));
}

TEST_F(ObjectStoreUpload, DamageOnEitherSideLeadsToTheOther) {
  Job job(MUSTER_WATCHED_FIT, options());
  ASSERT_EQ(run(job, 2, 40).exit_code, 0);
  const std::string hash = job.state_hash();
  const fs::path saved = job.checkpoints() / "step-00000040";
  const std::string file = "rank-00001-of-00002.h5";

  // The disk's bytes are found wrong while they are read: the store has the same step.
  const fs::path damaged = damaged_copy(saved / file, scratch_.path());
  fs::copy_file(damaged, saved / file, fs::copy_options::overwrite_existing);
  const ProgramResult mended = run(job, 2, 40);
  ASSERT_EQ(mended.exit_code, 0) << mended.err;
  EXPECT_THAT(mended.err, AllOf(HasSubstr("set aside as step-00000040.damaged"),
                                HasSubstr("downloaded s3://muster-test/run/step-00000040")));
  EXPECT_EQ(job.state_hash(), hash);

  // The store's newest is damaged, and the disk is lost: the best, which is before it, is taken.
  replace("step-00000040/" + file, damaged);
  fs::remove_all(job.checkpoints());
  const ProgramResult older = run(job, 2, 40);
  ASSERT_EQ(older.exit_code, 0) << older.err;
  EXPECT_THAT(older.err, AllOf(HasSubstr("step-00000040 is not used"), HasSubstr(file),
                               HasSubstr("resumed at step 20")));
  EXPECT_EQ(job.state_hash(), hash);
  EXPECT_THAT(muster({"verify", ObjectStoreServer::url("run")}).out, Not(HasSubstr("damaged")));
}

TEST_F(ObjectStoreUpload, AStoreThatTakesNothingIsToldAndTrainingGoesOnAsFarAsAllowed) {
  Job job(MUSTER_WATCHED_FIT, options());
  const std::string nowhere = "s3://no-such-bucket/run";
  const ProgramResult strict = run(job, 2, 600, {}, nowhere);
  EXPECT_EQ(strict.exit_code, kCheckpointError);
  EXPECT_THAT(strict.err, AllOf(HasSubstr("uploading step-000000"), HasSubstr("no-such-bucket"),
                                HasSubstr("1 in a row, 0 allowed (--checkpoint-failures)")));
  EXPECT_THAT(job.checkpoint_names(), Not(IsEmpty()));  // what was saved stays

  // The last one of a run is not forgiven, and is made up for by the next run.
  const ProgramResult patient = run(job, 2, 1000, {"--checkpoint-failures", "1000"}, nowhere);
  EXPECT_EQ(patient.exit_code, kCheckpointError) << patient.err;
  EXPECT_THAT(patient.err, HasSubstr("a checkpoint was not uploaded, training goes on"));
  EXPECT_EQ(job.checkpoint_names().back(), "step-00001000");
  server_->client("create_bucket(Bucket='no-such-bucket')");
  const ProgramResult made_up = run(job, 2, 1000, {}, nowhere);
  EXPECT_EQ(made_up.exit_code, 0) << made_up.err;
  EXPECT_THAT(muster({"verify", nowhere}).out, HasSubstr("step-00001000: sound"));
}

TEST_F(ObjectStoreUpload, ADeathWhileItRunsLeavesNothingBehind) {
  Job calm(MUSTER_WATCHED_FIT, options());
  ASSERT_EQ(calm.run(1, {}, {"--steps", "60"}).exit_code, 0);
  Job job(MUSTER_WATCHED_FIT, options());
  Job::Environment environment = server_->environment();
  environment["MUSTER_TEST_DIE_AT"] = "27";  // of rank 0, which uploads
  server_->client(                           // what an upload that was killed leaves
      "put_object(Bucket='muster-test', Key='run/step-00000003/rank-00000-of-00001.h5', "
      "Body=b'x')");
  const ProgramResult result = job.run(
      1, {}, {"--steps", "60", "--checkpoint-upload", ObjectStoreServer::url("run")}, environment);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("recovered in"));
  EXPECT_THAT(processes_with(job.directory().string()), IsEmpty());
  EXPECT_EQ(job.state_hash(), calm.state_hash());
  EXPECT_THAT(muster({"verify", ObjectStoreServer::url("run")}).out,
              AllOf(HasSubstr("step-00000060: sound"), Not(HasSubstr("damaged")),
                    Not(HasSubstr("step-00000003"))));
}

// What the store holds nobody can tell then, and a run that began anew would take its place.
TEST_F(ObjectStoreUpload, RestartedRanksWithNothingNearDoNotBeginAnewWhileItIsSilent) {
  for (const bool something_near : {false, true}) {
    SCOPED_TRACE(something_near ? "with a checkpoint on disk" : "with nothing near");
    if (!server_) server_ = std::make_unique<ObjectStoreServer>();
    Job job(MUSTER_LINE_FIT, {"--steps", "100000000", "--checkpoint-failures", "1000000",
                              "--checkpoint-upload", ObjectStoreServer::url("silent")});
    auto program = job.start(2, {}, {"--checkpoint-every", something_near ? "10" : "100000000"},
                             server_->environment());
    ASSERT_TRUE(wait_until(
        [&] {
          return !program->running() ||
                 (job.step() > 0 && job.checkpoint_names().empty() != something_near);
        },
        std::chrono::seconds(60)));
    server_.reset();
    ASSERT_TRUE(job.signal_rank(1, SIGKILL)) << program->error();
    const std::string told = "the object store is not asked for newer checkpoints";
    if (something_near) {
      EXPECT_TRUE(wait_until(
          [&] {
            return !program->running() ||
                   program->error().find("recovered in") != std::string::npos;
          },
          std::chrono::seconds(60)));
      EXPECT_THAT(program->error(), AllOf(HasSubstr(told), HasSubstr("resumed at step")));
      continue;
    }
    const ProgramResult result = program->wait();
    EXPECT_EQ(result.exit_code, kCheckpointError) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr("check the connection to the store"),
                                  Not(HasSubstr(told)), Not(HasSubstr("recovered in"))));
    EXPECT_THAT(job.checkpoint_names(), IsEmpty());
  }
}

TEST_F(ObjectStoreUpload, WhatIsAnotherRunsIsRefused) {
  Job job(MUSTER_WATCHED_FIT, options());
  ASSERT_EQ(run(job, 1, 10).exit_code, 0);
  Job other(MUSTER_WATCHED_FIT, options());
  const ProgramResult foreign = run(other, 2, 10, {"--seed", "77"});
  EXPECT_EQ(foreign.exit_code, kConfigError);
  EXPECT_THAT(foreign.err, AllOf(HasSubstr("s3://muster-test/run/step-00000010"), HasSubstr("seed"),
                                 HasSubstr("another job")));
  EXPECT_THAT(other.checkpoint_names(), IsEmpty());
  const ProgramResult fresh = run(job, 1, 10, {"--fresh"});
  EXPECT_EQ(fresh.exit_code, kConfigError);
  EXPECT_THAT(fresh.err, HasSubstr("--fresh: expected no checkpoints in s3://muster-test/run"));
  // A run by name has a place of its own there.
  const ProgramResult named = run(other, 2, 10, {"--seed", "77", "--run", "second"});
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_EQ(muster({"verify", ObjectStoreServer::url("run/second")}).exit_code, 0);
}

TEST_F(ObjectStoreUpload, WhatItNeedsIsTold) {
  Job job(MUSTER_WATCHED_FIT, options());
  const ProgramResult no_url = run(job, 1, 10, {}, "/some/where");
  EXPECT_EQ(no_url.exit_code, kConfigError);
  EXPECT_THAT(no_url.err, HasSubstr("--checkpoint-upload: expected s3://BUCKET/PREFIX"));
  Job::Environment nowhere = server_->environment();
  nowhere["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1";
  const ProgramResult down = job.run(
      2, {}, {"--steps", "10", "--checkpoint-upload", ObjectStoreServer::url("run")}, nowhere);
  EXPECT_EQ(down.exit_code, kCheckpointError);
  EXPECT_THAT(down.err,
              HasSubstr("check the connection to the store, AWS_ENDPOINT_URL and the credentials"));
}

}  // namespace
}  // namespace muster::testing
