// Whether a process goes with its parent.
#include "parent_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster::internal {
namespace {

constexpr int kDeadlineMs = 20000;

// Forks a process that forks another, and dies once that one watches it. Both have `own_end`, over
// which the second one's pid comes.
void fork_two(int own_end) {
  const pid_t first = fork();
  if (first != 0) {
    EXPECT_EQ(waitpid(first, nullptr, 0), first);
    return;
  }
  const pid_t dying = getpid();
  if (fork() != 0) {
    for (;;) pause();
  }
  const ParentWatch watch;
  const pid_t own = getpid();
  if (write(own_end, &own, sizeof(own)) != sizeof(own)) _exit(1);
  kill(dying, SIGKILL);
  for (;;) pause();
}

TEST(ParentWatch, AProcessGoesWithItsParentWhateverItDoes) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  fork_two(ends[1]);
  close(ends[1]);
  pid_t second = 0;
  ASSERT_EQ(read(ends[0], &second, sizeof(second)), static_cast<ssize_t>(sizeof(second)));
  pollfd hung_up{ends[0], 0, 0};
  EXPECT_EQ(poll(&hung_up, 1, kDeadlineMs), 1) << "it goes on without its parent";
  kill(second, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(second, &status, 0), second);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  close(ends[0]);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace muster::internal
