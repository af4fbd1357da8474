// Crash and restart with the real program.
#include <gmock/gmock.h>

#include "launcher/muster_process.h"

namespace muster::launcher::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class RestartTest : public MusterRunTest {
 protected:
  int run(const std::vector<std::string>& flags, const std::vector<std::string>& words) {
    MusterProcess muster(directory_, run_words(flags, words));
    const int code = muster.wait();
    error_ = muster.error();
    EXPECT_EQ(survivors(), 0u);
    return code;
  }

  std::string error_;
};

TEST_F(RestartTest, AKilledRankRestartsTheJob) {
  EXPECT_EQ(
      run({"-n", "2"},
          {"hello",          "join",   "resumed=0", "gen=0",  "rank=0",        "progress=10/20",
           "always",         "gen=0",  "rank=1",    "kill",   "always",        "gen=0",
           "wait-lost",      "always", "resumed=5", "rank=0", "progress=5/20", "progress=6/20",
           "progress=20/20", "always", "done"}),
      0);
  EXPECT_THAT(error_, HasSubstr("starting again with 2 ranks (restart 1 of 3)"));
  EXPECT_THAT(error_, ContainsRegex("muster: recovered in [0-9]+\\.[0-9][0-9] s "
                                    "\\(generation 1, world size 2, resumed at step 5\\)"));
  const Json json = status();
  EXPECT_EQ(json["generation"], 1);
  EXPECT_EQ(json["restarts"], 1);
  EXPECT_EQ(json["step"], 20);
}

TEST_F(RestartTest, ElasticGoesOnWithFewer) {
  EXPECT_EQ(run({"-n", "4", "--elastic", "2:4"},
                {"hello", "join", "gen=0", "rank=3", "kill", "always", "gen=1", "rank=0", "kill",
                 "always", "gen=0", "wait-lost", "always", "gen=1", "wait-lost", "always", "done"}),
            0);
  EXPECT_THAT(error_, HasSubstr("starting again with 3 ranks"));
  EXPECT_THAT(error_, HasSubstr("starting again with 2 ranks"));
  EXPECT_EQ(status()["world_size"], 2);
}

TEST_F(RestartTest, ElasticStaysAtItsMinimum) {
  EXPECT_EQ(run({"--elastic", "2:2"}, {"hello", "gen=0", "rank=0", "exit=3", "always", "gen=0",
                                       "pause", "always", "done"}),
            0);
  EXPECT_EQ(status()["world_size"], 2);
}

TEST_F(RestartTest, RestartsRunOut) {
  EXPECT_EQ(run({"--max-restarts", "1"}, {"hello", "print=once more", "kill"}), 75);
  EXPECT_THAT(error_, HasSubstr("all 1 restarts are used up"));
  EXPECT_EQ(log(0, 0), "once more\n");
  EXPECT_EQ(log(1, 0), "once more\n");
}

TEST_F(RestartTest, ACrashLoopIsCalledByItsName) {
  EXPECT_EQ(run({"--max-restarts", "-1"}, {"hello", "resumed=7", "progress=7/9", "kill"}), 75);
  EXPECT_THAT(error_, HasSubstr("crash loop: 3 restarts in a row brought no new step"));
  EXPECT_THAT(error_, Not(HasSubstr("recovered")));
  EXPECT_EQ(status()["generation"], 3);
}

TEST_F(RestartTest, ATimeoutIsTriedAgain) {
  EXPECT_EQ(run({}, {"hello", "gen=0", "failure=75:Timeout:rank 1 is absent", "exit=75", "always",
                     "done"}),
            0);
  EXPECT_THAT(error_, HasSubstr("failed with Timeout: rank 1 is absent"));
}

TEST_F(RestartTest, ATimeoutSaysWhoWasMissing) {
  EXPECT_EQ(run({"-n", "3"},
                {"hello", "join", "gen=0", "ended=barrier", "always", "gen=0", "rank=0",
                 "gave-up=all_reduce", "failure=75:Timeout:too late", "exit=75", "always", "gen=0",
                 "rank=1", "in=all_reduce", "always", "gen=0", "pause", "always", "done"}),
            0);
  EXPECT_THAT(error_, ContainsRegex("  hang: operation 1 all_reduce\\(\\): rank 0 gave up after "
                                    "[^;]*; rank 1 was in it when its process ended; rank 2 never "
                                    "came, its last was operation 0 barrier\\(\\), ended "));
  const auto records = directory_.path() / "logs" / "generation-000";
  EXPECT_THAT(error_, HasSubstr("  more: muster flight " + records.string() + "\n"));
}

TEST_F(RestartTest, ACrashNamesTheCommandThatTellsMore) {
  EXPECT_EQ(run({}, {"hello", "gen=0", "ended=barrier", "kill", "always", "done"}), 0);
  EXPECT_THAT(error_, HasSubstr("  more: muster flight "));
  EXPECT_THAT(error_, Not(HasSubstr("  hang: ")));
}

TEST_F(RestartTest, FailuresWithoutAStoryInTheRecordsDoNotNameThem) {
  EXPECT_EQ(run({}, {"hello", "ended=barrier", "failure=1:UserError:mine", "exit=1"}), 1);
  EXPECT_THAT(error_, Not(HasSubstr("muster flight")));
  EXPECT_EQ(run({"--max-restarts", "0"}, {"hello", "kill"}), 75);
  EXPECT_THAT(error_, HasSubstr("was killed by SIGKILL"));
  EXPECT_THAT(error_, Not(HasSubstr("muster flight"))) << "its records are those of the run before";
}

TEST_F(RestartTest, StatusNamesTheProcessesToKill) {
  MusterProcess muster(directory_,
                       run_words({"-n", "2"}, {"hello", "join", "gen=0", "rank=0", "progress=3/9",
                                               "always", "gen=0", "wait-lost", "always", "done"}));
  ASSERT_TRUE(eventually([&] {
    const Json json = status();
    return json.is_object() && json["step"] == 3;
  }));
  const Json json = status();
  EXPECT_EQ(json["state"], "running");
  EXPECT_EQ(json["launcher_pid"], muster.pid());
  ASSERT_EQ(json["ranks"][1]["rank"], 1);
  const auto victim = json["ranks"][1]["pid"].get<pid_t>();
  ASSERT_GT(victim, 0);
  kill(victim, SIGKILL);
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_THAT(muster.error(), HasSubstr("rank 1 of 2 was killed by SIGKILL (Killed) after step 3"));
}

TEST_F(RestartTest, TheNewestCheckpointIsKnown) {
  EXPECT_EQ(run({}, {"hello", "checkpoint=4:/ckpt/step-00000004", "done"}), 0);
  EXPECT_EQ(status()["checkpoint"]["step"], 4);
  EXPECT_THAT(error_, HasSubstr("newest checkpoint /ckpt/step-00000004"));
}

TEST_F(RestartTest, GarbageOnTheControlChannelIsNamedAndHarmless) {
  // A program that uses the descriptor for something else.
  MusterProcess muster(directory_, {"run", "--log-dir", directory_.path() / "logs", "--", "bash",
                                    "-c", "echo nonsense >&$MUSTER_CONTROL_FD"});
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_THAT(muster.error(), HasSubstr("rank 0 is not listened to any more"));
}

}  // namespace
}  // namespace muster::launcher::testing
