// Forking, and the end of the family.
#include "own_ranks.h"

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
