// Forking, watching and reaping.
#include "collectives/rank_processes.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <thread>

#include "queued_communicator.h"
#include "shm_transport.h"

namespace muster::testing {
namespace {

void run_body(int fd, int rank, int world_size, std::uint32_t generation,
              std::chrono::milliseconds operation_timeout, const RankBody& body) {
  std::shared_ptr<NodeMemory> memory = NodeMemory::attach(dup(fd), generation);
  memory->join(rank);
  {
    internal::QueuedCommunicator communicator(
        rank, world_size,
        std::make_unique<internal::ShmTransport>(internal::NodeGroup::everyone(memory), rank), "",
        operation_timeout);
    body(rank, communicator);
  }
  memory->leave(rank);
}

[[noreturn]] void be_rank(int fd, int rank, int world_size, std::uint32_t generation,
                          std::chrono::milliseconds operation_timeout, const RankBody& body) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  at::set_num_threads(1);  // the parent's OpenMP threads are not here
  bool threw = false;
  try {
    run_body(fd, rank, world_size, generation, operation_timeout, body);
  } catch (const std::exception& error) {
    std::cout << "rank " << rank << " threw: " << error.what() << std::endl;
    threw = true;
  }
  std::fflush(nullptr);
  _exit(threw || ::testing::Test::HasFailure() ? 1 : 0);
}

// Leaves the process to be reaped.
bool has_ended(pid_t pid) {
  siginfo_t ended = {};
  return waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid == pid;
}

bool wait_until(pid_t pid, std::chrono::steady_clock::time_point deadline) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {  // some sandboxes have no such call
    while (!has_ended(pid) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return has_ended(pid);
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  pollfd waited{fd, POLLIN, 0};
  const bool ended = poll(&waited, 1, std::max(0, static_cast<int>(left.count()))) > 0;
  close(fd);
  return ended;
}

}  // namespace

std::vector<RankEnd> run_ranks(NodeMemory& node_memory, int world_size,
                               std::chrono::milliseconds operation_timeout, const RankBody& body,
                               std::chrono::seconds limit) {
  std::fflush(nullptr);
  std::vector<pid_t> pids;
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t pid = fork();
    if (pid == 0) {
      be_rank(node_memory.fd(), rank, world_size, node_memory.generation(), operation_timeout,
              body);
    }
    pids.push_back(pid);
  }
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<RankEnd> ends;
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t pid = pids[static_cast<std::size_t>(rank)];
    if (!wait_until(pid, deadline)) {
      const RankSlot& slot = node_memory.control().slots[rank];
      ADD_FAILURE() << "rank " << rank << " hangs in " << slot.operation << ", operation "
                    << slot.sequence.load();
      kill(pid, SIGKILL);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    ends.push_back({WIFEXITED(status) && WEXITSTATUS(status) == 0,
                    WIFSIGNALED(status) ? WTERMSIG(status) : 0});
  }
  return ends;
}

void run_ranks(int world_size, const RankBody& body) {
  const auto memory = NodeMemory::create(world_size, 0);
  const auto ends = run_ranks(*memory, world_size, std::chrono::seconds(20), body);
  for (int rank = 0; rank < world_size; ++rank) {
    EXPECT_TRUE(ends[static_cast<std::size_t>(rank)].exited_well)
        << "rank " << rank << " of " << world_size << ", signal "
        << ends[static_cast<std::size_t>(rank)].signal;
  }
}

}  // namespace muster::testing
