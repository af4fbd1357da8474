// Finding children, marked processes and those on their way out.
#include "process_tree.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "launcher/muster_process.h"

namespace muster::launcher::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

pid_t start_sleeper(const char* mark) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  char* const environment[] = {const_cast<char*>(mark), nullptr};
  char* const arguments[] = {const_cast<char*>("sleep"), const_cast<char*>("60"), nullptr};
  execve("/bin/sleep", arguments, environment);
  _exit(1);
}

TEST(ProcessTreeTest, ChildrenAreListedUntilTheyAreReaped) {
  EXPECT_THAT(own_children(), IsEmpty());
  const pid_t pid = start_sleeper("A=1");
  EXPECT_THAT(own_children(), ElementsAre(pid));
  kill(pid, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  EXPECT_THAT(own_children(), ElementsAre(pid)) << "a zombie is still ours";
  waitpid(pid, nullptr, 0);
  EXPECT_THAT(own_children(), IsEmpty());
}

TEST(ProcessTreeTest, AMarkIsAWholeLine) {
  const pid_t pid = start_sleeper("MUSTER_TEST_MARK=one");
  EXPECT_TRUE(eventually([&] {
    const auto found = processes_with_environment("MUSTER_TEST_MARK=one");
    return found == std::vector<pid_t>{pid};
  }));
  EXPECT_THAT(processes_with_environment("MUSTER_TEST_MARK=on"), IsEmpty());
  EXPECT_THAT(processes_with_environment("TEST_MARK=one"), IsEmpty());
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(ProcessTreeTest, ADeadProcessIsExitingAndALivingOneIsNot) {
  const pid_t pid = start_sleeper("A=1");
  EXPECT_FALSE(is_exiting(pid));
  kill(pid, SIGKILL);
  EXPECT_TRUE(eventually([&] { return is_exiting(pid); }));
  waitpid(pid, nullptr, 0);
}

// In a process of its own: adopting is for life.
TEST(ProcessTreeTest, AllDescendantsAreKilledButTheSparedOne) {
  const pid_t pid = fork();
  if (pid == 0) {
    adopt_orphans();
    const pid_t spared = start_sleeper("A=1");
    // Three generations below, each in a session of its own, the middle one gone at once.
    if (fork() == 0) {
      setsid();
      if (fork() == 0) {
        setsid();
        start_sleeper("A=1");
        pause();
      }
      _exit(0);
    }
    while (own_children().size() < 3) {
    }
    const bool all_gone = kill_descendants({spared}, std::chrono::seconds(10)).empty();
    const bool spared_is_left = own_children() == std::vector<pid_t>{spared};
    kill(spared, SIGKILL);
    _exit(all_gone && spared_is_left ? 0 : 1);
  }
  int status = -1;
  const bool ended = eventually([&] { return waitpid(pid, &status, WNOHANG) == pid; });
  if (!ended) kill(pid, SIGKILL);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace muster::launcher::testing
