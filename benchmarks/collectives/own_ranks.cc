// Forking, and the end of the family.
#include "own_ranks.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <vector>

#include "muster/base/error.h"
#include "muster/base/node_memory.h"

namespace muster::bench {
namespace {

// As mpirun does by default: a rank that shares a core with another loses to the scheduler what the
// benchmark wants to see. Does nothing where there are more ranks than cores.
void bind_to_core(int rank, int world_size) {
  cpu_set_t available;
  CPU_ZERO(&available);
  if (sched_getaffinity(0, sizeof(available), &available) != 0) return;
  if (CPU_COUNT(&available) < world_size) return;
  int cpu = -1;
  for (int left = rank + 1; left > 0;) left -= CPU_ISSET(++cpu, &available) ? 1 : 0;
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET(cpu, &own);
  sched_setaffinity(0, sizeof(own), &own);
}

void kill_all(const std::vector<pid_t>& ranks) {
  for (const pid_t rank : ranks) kill(rank, SIGKILL);
}

// The exit code that stands for how a rank ended.
int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(ExitCode::kPeerLost);
}

int wait_for_all(std::vector<pid_t> ranks) {
  int first_failure = 0;
  while (!ranks.empty()) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    if (ended < 0 && errno == EINTR) continue;
    if (ended < 0) throw InternalError("waitpid: expected ranks, found " + errno_text(errno));
    std::erase(ranks, ended);
    if (first_failure == 0) first_failure = exit_code_of(status);
    if (WIFEXITED(status)) continue;
    std::fprintf(stderr, "muster: a rank (process %d) was killed by signal %d\n", ended,
                 WTERMSIG(status));
    kill_all(ranks);
  }
  return first_failure;
}

}  // namespace

int run_own_ranks(int world_size, const std::function<int(const RankEnv& env)>& be_rank) {
  const std::unique_ptr<NodeMemory> memory = NodeMemory::create(world_size, 0);
  const pid_t parent = getpid();
  std::vector<pid_t> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(static_cast<int>(ExitCode::kPeerLost));
      bind_to_core(rank, world_size);
      RankEnv env;
      env.launched_by = LaunchedBy::kMuster;
      env.rank = env.local_rank = rank;
      env.world_size = env.local_world_size = world_size;
      env.node_memory_fd = dup(memory->fd());  // attach() takes it over
      const int exit_code = be_rank(env);
      std::fflush(nullptr);
      _exit(exit_code);
    }
    if (child < 0) {
      kill_all(ranks);
      throw InternalError("fork: expected " + std::to_string(world_size) +
                          " ranks to start, found " + errno_text(errno) + "; start fewer");
    }
    ranks.push_back(child);
  }
  return wait_for_all(std::move(ranks));
}

}  // namespace muster::bench
