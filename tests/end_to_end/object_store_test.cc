// Checkpoints in an S3-compatible store: copied there and back, listed, verified, inspected.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <random>
#include <sstream>

#include "object_store_fixture.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(ObjectStore, KeepsCheckpointsThatAreListedVerifiedInspectedAndCopiedBack) {
  const fs::path here = scratch_.path() / "here", back = scratch_.path() / "back";
  save(here, 5, 1000);
  const std::string newest = save(here, 10, 1000);
  const std::string run_url = std::string(kBucket) + "/runs/one";
  EXPECT_EQ(run({"copy", (here / "step-00000005").string(), run_url}).exit_code, 0);
  const ProgramResult copied = run({"copy", here.string(), run_url});
  EXPECT_EQ(copied.exit_code, 0) << copied.err;
  EXPECT_THAT(copied.out, HasSubstr(run_url + "/step-00000010: 1 tensors from " + newest));
  EXPECT_THAT(run({"copy", here.string(), run_url}).out, HasSubstr("there already"));

  const ProgramResult listed = run({"checkpoints", run_url});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_THAT(listed.out, AllOf(HasSubstr("  5 "), HasSubstr(" 10 "), HasSubstr("store complete"),
                                Not(HasSubstr("damaged"))));
  EXPECT_THAT(run({"checkpoints", std::string(kBucket) + "/runs"}).out, HasSubstr("one\n"));
  const ProgramResult verified = run({"verify", run_url});
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("step-00000010: sound"));
  EXPECT_THAT(run({"inspect", run_url}).out, HasSubstr(hash(newest)));

  const ProgramResult returned = run({"copy", run_url, back.string()});
  EXPECT_EQ(returned.exit_code, 0) << returned.err;
  EXPECT_EQ(hash(back / "step-00000010"), hash(newest));
  EXPECT_FALSE(fs::exists(back / "step-00000005"));

  // Another checkpoint of that step is not replaced, and a save that is under way not disturbed.
  const fs::path other = scratch_.path() / "other";
  const std::string others = hash(save(other, 10, 2000));
  fs::create_directories(other / ".attempt-step-00000020-g0");
  const ProgramResult refused = run({"copy", run_url, other.string()});
  EXPECT_EQ(refused.exit_code, kCheckpointError);
  EXPECT_THAT(refused.err, HasSubstr("found another checkpoint of that step"));
  EXPECT_EQ(hash(other / "step-00000010"), others);
  EXPECT_TRUE(fs::exists(other / ".attempt-step-00000020-g0"));
}

TEST_F(ObjectStore, DamageIsNamedAndNothingOfItReachesTheDisk) {
  const fs::path here = scratch_.path() / "here", back = scratch_.path() / "back";
  const fs::path saved = save(here, 7, 1000);
  const std::string run_url = std::string(kBucket) + "/run";
  ASSERT_EQ(run({"copy", here.string(), run_url}).exit_code, 0);
  const std::string name = "rank-00001-of-00002.h5";
  std::string bytes = text_of(saved / name);
  bytes[bytes.size() - 100] = static_cast<char>(bytes[bytes.size() - 100] ^ 1);
  const fs::path damaged = scratch_.path() / "damaged";
  std::ofstream(damaged, std::ios::binary) << bytes;
  server_->client("put_object(Bucket='muster-test', Key='run/step-00000007/" + name +
                  "', Body=open('" + damaged.string() + "', 'rb'))");

  const ProgramResult verified = run({"verify", run_url});
  EXPECT_EQ(verified.exit_code, kCheckpointError);
  EXPECT_THAT(verified.out, AllOf(HasSubstr("damaged"), HasSubstr(name)));
  const ProgramResult returned = run({"copy", run_url, back.string()});
  EXPECT_EQ(returned.exit_code, kCheckpointError);
  EXPECT_THAT(returned.err, AllOf(HasSubstr("all of whose bytes are right"), HasSubstr(name)));
  EXPECT_TRUE(fs::is_empty(back));
}

TEST_F(ObjectStore, AKillInTheMiddleLeavesNoCheckpointAndTheNextCopyIsWhole) {
  const fs::path here = scratch_.path() / "here";
  const fs::path saved = save(here, 3, 8 << 20);
  const std::string run_url = std::string(kBucket) + "/run";
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 3; ++i) {
    const auto copying = start({"copy", here.string(), run_url});
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(random() % 900);
    wait_until([&] { return !copying->running() || std::chrono::steady_clock::now() > until; },
               std::chrono::seconds(60));
    const bool killed = copying->running();
    if (killed) copying->signal(SIGKILL);
    copying->wait();
    const ProgramResult listed = run({"checkpoints", run_url});
    if (listed.exit_code != 0) {
      EXPECT_THAT(listed.err, HasSubstr("expected a directory with checkpoints"));
      continue;
    }
    // What is listed as complete is so to the last byte.
    const bool complete = listed.out.find("complete") != std::string::npos;
    if (complete) {
      EXPECT_EQ(run({"verify", run_url}).exit_code, 0);
    } else {
      EXPECT_TRUE(killed) << listed.out;
    }
  }
  ASSERT_EQ(run({"copy", here.string(), run_url}).exit_code, 0);
  EXPECT_THAT(run({"verify", run_url}).out, HasSubstr("sound"));
}

TEST_F(ObjectStore, OneThatCannotBeReachedIsSaidSo) {
  server_.reset();
  const fs::path here = scratch_.path() / "here";
  save(here, 1, 10);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"copy", here.string(), std::string(kBucket) + "/run"},
        {"copy", std::string(kBucket) + "/run", (scratch_.path() / "back").string()},
        {"checkpoints", std::string(kBucket) + "/run"}}) {
    const ProgramResult result = run(words);
    EXPECT_EQ(result.exit_code, kCheckpointError) << words[0];
    EXPECT_THAT(result.err, AllOf(HasSubstr("Error: "), HasSubstr("NETWORK_CONNECTION")));
  }
}

TEST(ObjectStoreCommands, TwoPlacesOnDiskAreRefused) {
  ScratchDirectory scratch;
  const ProgramResult result =
      Program({std::string(MUSTER_BIN_DIR) + "/muster", "copy", "a", "b"}, scratch.path()).wait();
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("expected one place in an object store"));
}

}  // namespace
}  // namespace muster::testing
