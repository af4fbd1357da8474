// Ctrl-C, SIGTERM, and the launcher's own death.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "launcher/muster_process.h"

namespace muster::launcher::testing {
namespace {

using ::testing::HasSubstr;

class StopTest : public MusterRunTest {
 protected:
  bool wait_for_log(int rank, const std::string& text, int generation = 0) const {
    return eventually([&] { return log(generation, rank).find(text) != std::string::npos; });
  }

  const std::filesystem::path go_ = directory_.path() / "go";
};

TEST_F(StopTest, CtrlCAsksTheRanksToSave) {
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"hello", "print=up", "wait-stop=130"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  muster.send_signal(SIGINT);
  EXPECT_EQ(muster.wait(), 130);
  EXPECT_EQ(log(0, 0), "up\nstop interrupt\n");
  EXPECT_EQ(log(0, 1), "up\nstop interrupt\n");
  EXPECT_EQ(status()["state"], "interrupted");
  EXPECT_EQ(survivors(), 0u);
}

TEST_F(StopTest, TermAndHupAreANoticeOfPreemption) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    MusterProcess muster(directory_, run_words({"-n", "2"}, {"hello", "print=up", "wait-stop=79"}));
    ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
    muster.send_signal(signal);
    EXPECT_EQ(muster.wait(), 79);
    EXPECT_THAT(log(0, 1), HasSubstr("stop preempt"));
    EXPECT_EQ(status()["state"], "preempted");
    EXPECT_EQ(survivors(), 0u);
    std::filesystem::remove_all(directory_.path() / "logs");
  }
}

TEST_F(StopTest, SecondCtrlCKills) {
  MusterProcess muster(directory_,
                       run_words({"-n", "2"}, {"hello", "ignore-term", "print=up", "pause"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  muster.send_signal(SIGINT);
  ASSERT_TRUE(wait_for_state("stopping"));
  muster.send_signal(SIGINT);
  EXPECT_EQ(muster.wait(), 130);
  EXPECT_EQ(survivors(), 0u);
}

TEST_F(StopTest, TheGracePeriodEnds) {
  MusterProcess muster(
      directory_, run_words({"--grace", "0.1"}, {"hello", "ignore-term", "print=up", "pause"}));
  ASSERT_TRUE(wait_for_log(0, "up"));
  muster.send_signal(SIGTERM);
  EXPECT_EQ(muster.wait(), 75) << "killed, so nothing was saved";
  EXPECT_THAT(muster.error(), HasSubstr("the grace period of 0.10 s is over"));
  EXPECT_EQ(survivors(), 0u);
}

TEST_F(StopTest, AStrangerIsToldByASignal) {
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"print=up", "pause"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  muster.send_signal(SIGTERM);
  EXPECT_EQ(muster.wait(), 79);
  EXPECT_EQ(survivors(), 0u);
}

TEST_F(StopTest, RanksThatStartAgainAreAskedToSave) {
  MusterProcess muster(directory_,
                       run_words({"-n", "2"}, {"gen=0", "hello", "kill", "always", "print=up",
                                               "await=" + go_.string(), "hello", "wait-stop=79"}));
  ASSERT_TRUE(wait_for_log(0, "up", 1) && wait_for_log(1, "up", 1));
  muster.send_signal(SIGTERM);
  ASSERT_TRUE(wait_for_state("stopping"));
  std::ofstream(go_).close();
  EXPECT_EQ(muster.wait(), 79);
  EXPECT_EQ(log(1, 0), "up\nstop preempt\n");
  EXPECT_EQ(log(1, 1), "up\nstop preempt\n");
}

TEST_F(StopTest, ARankThatIsLateWithItsHelloIsAskedToSave) {
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"rank=0", "hello", "always", "print=up",
                                                           "await=" + go_.string(), "rank=1",
                                                           "hello", "always", "wait-stop=79"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  muster.send_signal(SIGTERM);
  ASSERT_TRUE(wait_for_state("stopping"));
  std::ofstream(go_).close();
  EXPECT_EQ(muster.wait(), 79);
  EXPECT_EQ(log(0, 1), "up\nstop preempt\n");
}

TEST_F(StopTest, AHelloThatIsNotReadYetCounts) {
  const std::filesystem::path said = directory_.path() / "said";
  MusterProcess muster(directory_, run_words({}, {"print=up", "await=" + go_.string(), "hello",
                                                  "touch=" + said.string(), "wait-stop=79"}));
  ASSERT_TRUE(wait_for_log(0, "up"));
  muster.send_signal(SIGSTOP);
  std::ofstream(go_).close();
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(said); }));
  muster.send_signal(SIGTERM);
  muster.send_signal(SIGCONT);
  EXPECT_EQ(muster.wait(), 79);
  EXPECT_EQ(log(0, 0), "up\nstop preempt\n");
}

TEST_F(StopTest, ADeathByTheLaunchersOwnSignalIsNoCrash) {
  MusterProcess muster(
      directory_,
      run_words({"-n", "2"}, {"rank=0", "ignore-term", "always", "print=up", "rank=1", "pause",
                              "always", "await=" + go_.string(), "hello", "wait-stop=79"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  muster.send_signal(SIGTERM);
  ASSERT_TRUE(wait_for_state("stopping"));
  std::ofstream(go_).close();
  EXPECT_EQ(muster.wait(), 79) << muster.error();
}

TEST_F(StopTest, ACrashWhileStoppingIsNotRestarted) {
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"hello", "join", "print=up", "rank=1",
                                                           "wait-stop=3", "always", "wait-lost"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  muster.send_signal(SIGTERM);
  EXPECT_EQ(muster.wait(), 75);
  EXPECT_THAT(muster.error(), HasSubstr("rank 1 of 2 left with exit code 3"));
  EXPECT_EQ(status()["generation"], 0);
}

TEST_F(StopTest, AnErrorWhileStoppingKeepsItsCode) {
  MusterProcess muster(directory_, run_words({}, {"hello", "print=up", "wait-stop=74"}));
  ASSERT_TRUE(wait_for_log(0, "up"));
  muster.send_signal(SIGINT);
  EXPECT_EQ(muster.wait(), 74);
}

TEST_F(StopTest, NothingSurvivesAKilledLauncher) {
  MusterProcess muster(
      directory_, run_words({"-n", "2"}, {"hello", "ignore-term", "orphan", "print=up", "pause"}));
  ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
  // The orphans, which a rank forks twice for, may come to be seen after its line.
  EXPECT_TRUE(eventually([&] { return survivors() >= 4; })) << "two ranks, two orphans";
  muster.send_signal(SIGKILL);
  EXPECT_EQ(muster.wait(), 128 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return survivors() == 0; }));
}

TEST_F(StopTest, GrandchildrenEndWithTheJob) {
  for (const char* last : {"exit=0", "exit=64", "pause"}) {
    MusterProcess muster(directory_, run_words({"-n", "2"}, {"orphan", "print=up", last}));
    ASSERT_TRUE(wait_for_log(0, "up") && wait_for_log(1, "up"));
    if (last == std::string("pause")) muster.send_signal(SIGTERM);
    EXPECT_NE(muster.wait(), -1);
    EXPECT_EQ(survivors(), 0u) << last;
    std::filesystem::remove_all(directory_.path() / "logs");
  }
}

}  // namespace
}  // namespace muster::launcher::testing
