// Is a process of a file still there?
#include "muster/base/process_identity.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster {
namespace {

std::string stat_text(char state, std::uint64_t start_ticks) {
  return "12 (a ) b) " + std::string(1, state) +
         " 1 12 12 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 " + std::to_string(start_ticks) +
         " 8192 77";
}

TEST(ProcessIdentityTest, ReadsStates) {
  for (const char state : {'R', 'S', 'D', 'I'}) {
    EXPECT_EQ(internal::state_from_stat(stat_text(state, 5), 5), ProcessState::kRunning);
  }
  for (const char state : {'T', 't'}) {
    EXPECT_EQ(internal::state_from_stat(stat_text(state, 5), 5), ProcessState::kStopped);
  }
  for (const char state : {'Z', 'X'}) {
    EXPECT_EQ(internal::state_from_stat(stat_text(state, 5), 5), ProcessState::kGone);
  }
  EXPECT_EQ(internal::state_from_stat(stat_text('R', 6), 5), ProcessState::kGone)
      << "the pid belongs to a later process";
  EXPECT_EQ(internal::state_from_stat("", 5), ProcessState::kGone);
}

TEST(ProcessIdentityTest, KnowsItself) {
  const ProcessIdentity own = own_process_identity();
  EXPECT_EQ(own.pid, getpid());
  EXPECT_GT(own.start_ticks, 0u);
  EXPECT_FALSE(own.boot_id.empty());
  EXPECT_FALSE(own.host.empty());
  EXPECT_EQ(process_state(own), ProcessState::kRunning);
}

TEST(ProcessIdentityTest, OtherMachinesAreUnknown) {
  ProcessIdentity other = own_process_identity();
  other.boot_id = "another boot";
  EXPECT_EQ(process_state(other), ProcessState::kUnknown);
  other = own_process_identity();
  other.pid_namespace += 1;
  EXPECT_EQ(process_state(other), ProcessState::kUnknown);
  EXPECT_EQ(process_state({}), ProcessState::kUnknown);
}

TEST(ProcessIdentityTest, SeesAChildStopAndEnd) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::uint64_t start_ticks = own_process_identity().start_ticks;
    if (write(pipe_ends[1], &start_ticks, sizeof start_ticks) < 0) _exit(1);
    raise(SIGSTOP);
    _exit(0);
  }
  ProcessIdentity identity = own_process_identity();
  identity.pid = child;
  ASSERT_EQ(read(pipe_ends[0], &identity.start_ticks, sizeof identity.start_ticks),
            static_cast<ssize_t>(sizeof identity.start_ticks));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  EXPECT_EQ(process_state(identity), ProcessState::kStopped);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(process_state(identity), ProcessState::kGone);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

}  // namespace
}  // namespace muster
