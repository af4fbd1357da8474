// A process that is started anew takes the place of a lost rank, while the others go on.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "collectives/checks/operation_checks.h"
#include "collectives/faults.h"
#include "muster/base/error.h"
#include "muster/collectives/world.h"
#include "reception.h"

namespace muster::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kDeadline = milliseconds(10000);

/// Holds the memory and starts the ranks, as a launcher does; each makes its World itself.
class Agent {
 public:
  using Program = std::function<void(World&)>;

  Agent(int ranks, Program program) : ranks_(ranks), program_(std::move(program)) {
    std::fflush(nullptr);
    for (int rank = 0; rank < ranks; ++rank) start(rank, false);
  }
  ~Agent() {
    for (const auto& [pid, rank] : processes_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  NodeMemory& memory() { return *memory_; }
  int deaths() const { return deaths_; }

  void start(int rank, bool replaces) {
    const pid_t pid = fork();
    if (pid == 0) be(rank, replaces);
    processes_[pid] = rank;
  }

  /// Until all have ended; `on_death` gets the rank of each that was killed.
  void run(const std::function<void(int rank)>& on_death) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(40);
    while (!processes_.empty() && std::chrono::steady_clock::now() < deadline) {
      wait_for_any();
      int status = 0;
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) continue;
      const int rank = processes_.at(pid);
      processes_.erase(pid);
      if (WIFSIGNALED(status)) {
        ++deaths_;
        on_death(rank);
      } else {
        EXPECT_EQ(WEXITSTATUS(status), 0) << "rank " << rank;
      }
    }
    EXPECT_TRUE(processes_.empty()) << "ranks hang";
  }

 private:
  void wait_for_any() {
    std::vector<pollfd> fds;
    for (const auto& [pid, rank] : processes_) {
      fds.push_back({static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0});
    }
    poll(fds.data(), fds.size(), 1000);
    for (const pollfd& each : fds) close(each.fd);
  }

  [[noreturn]] void be(int rank, bool replaces) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    at::set_num_threads(1);  // the parent's OpenMP threads are not here
    RankEnv env;
    env.launched_by = LaunchedBy::kMuster;
    env.rank = env.local_rank = rank;
    env.world_size = env.local_world_size = ranks_;
    env.node_memory_fd = dup(memory_->fd());
    env.replaces_lost_rank = replaces;
    bool threw = false;
    try {
      World world = World::create(env, WorldOptions{.timeout = kDeadline});
      program_(world);
    } catch (const std::exception& error) {
      std::cout << "rank " << rank << " threw: " << error.what() << std::endl;
      threw = true;
    }
    _exit(threw || ::testing::Test::HasFailure() ? 1 : 0);
  }

  const int ranks_;
  const Program program_;
  std::unique_ptr<NodeMemory> memory_ = NodeMemory::create(ranks_, 0);
  std::map<pid_t, int> processes_;
  int deaths_ = 0;
};

/// Runs until generation `last` is through with its operations. In each before, one rank dies in
/// the middle of them: rank `generation`.
void go_on_until(int last, World& world) {
  std::unique_ptr<Communicator> replaced;
  Communicator* current = &world.communicator();
  for (;;) {
    const int generation = current->generation();
    EXPECT_EQ(current->world_size(), 3);
    EXPECT_EQ(current->rank(), world.env().rank);
    if (generation > 0) {
      std::vector<int> expected = {0, 1, 2};
      // What this process calls the generation before it had the rank that died.
      expected[static_cast<std::size_t>(generation - 1)] = -1;
      EXPECT_EQ(current->previous_ranks(), expected);
    }
    check_canonical_at(*current, Memory::kSymmetric, 4096, at::kFloat, 7);
    check_operations_at(*current, Memory::kOrdinary, 1000, at::kFloat);
    if (generation == last) return check_split(*current);
    if (current->rank() == generation) raise(SIGKILL);
    error_of<PeerLost>(current->rank(), [&] {
      for (;;) current->all_reduce(at::zeros({100000})).wait();
    });
    replaced = current->replace(kDeadline);
    current = replaced.get();
  }
}

TEST(ShmReplace, AStartedProcessTakesTheDeadRanksPlaceAgainAndAgain) {
  Agent agent(3, [](World& world) { go_on_until(3, world); });
  agent.run([&](int rank) { agent.start(rank, true); });
  EXPECT_EQ(agent.deaths(), 3);
}

// Rank 0 dies once. How many generations its replacement takes is not said.
void go_on_after_a_death(World& world) {
  std::unique_ptr<Communicator> replaced;
  Communicator* current = &world.communicator();
  if (current->generation() == 0) {
    current->barrier().wait();
    if (current->rank() == 0) raise(SIGKILL);
    error_of<PeerLost>(current->rank(), [&] {
      for (;;) current->all_reduce(at::zeros({100000})).wait();
    });
    replaced = current->replace(kDeadline);
    current = replaced.get();
  }
  EXPECT_GE(current->generation(), 1);
  EXPECT_THAT(current->previous_ranks(), ElementsAre(-1, 1, 2));
  EXPECT_EQ(current->rank(), world.env().rank);
  check_operations_at(*current, Memory::kOrdinary, 1000, at::kFloat);
  check_split(*current);
}

// The agent starts one that dies on its way in before it starts one that lives. Where the first has
// been admitted before its death is seen, there is a generation more.
TEST(ShmReplace, AProcessThatDiesOnItsWayInIsReplacedItself) {
  Agent agent(3, [](World& world) { go_on_after_a_death(world); });
  bool first = true;
  agent.run([&](int rank) {
    if (std::exchange(first, false)) {
      const pid_t pid = fork();
      if (pid == 0) {
        const auto memory = NodeMemory::attach(dup(agent.memory().fd()), 0);
        const int slot = memory->join_later();
        internal::Reception(*memory).come(rank, slot);
        raise(SIGKILL);
      }
      waitpid(pid, nullptr, 0);
    }
    agent.start(rank, true);
  });
  EXPECT_EQ(agent.deaths(), 1);
}

TEST(ShmReplace, WithoutAProcessItIsATimeoutAndTheOthersShrink) {
  Agent agent(3, [](World& world) {
    Communicator& all = world.communicator();
    if (all.rank() == 1) raise(SIGKILL);
    EXPECT_THAT(error_of<Timeout>(all.rank(), [&] { all.replace(milliseconds(200)); }),
                AllOf(HasSubstr("within 200 ms"), HasSubstr("found nobody for rank "),
                      HasSubstr("rank 1")));
    const auto left = all.shrink(kDeadline);
    EXPECT_THAT(left->previous_ranks(), ElementsAre(0, 2));
    left->barrier().wait();
    EXPECT_THROW(left->replace(kDeadline), ConfigError);  // what has no place for it
  });
  agent.run([](int) {});
  EXPECT_EQ(agent.deaths(), 1);
}

TEST(ShmReplace, NobodyWaitsForEverForAnInvitation) {
  const auto memory = NodeMemory::create(2, 0);
  RankEnv env;
  env.launched_by = LaunchedBy::kMuster;
  env.world_size = env.local_world_size = 2;
  env.node_memory_fd = dup(memory->fd());
  env.replaces_lost_rank = true;
  EXPECT_THAT(
      error_of<Timeout>(0, [&] { World::create(env, WorldOptions{.timeout = milliseconds(50)}); }),
      AllOf(HasSubstr("to call Communicator::replace() within 50 ms"),
            HasSubstr("to be rank 0 in the place")));
  env.launched_by = LaunchedBy::kNobody;
  env.world_size = env.local_world_size = 1;
  EXPECT_THROW(World::create(env, {}), ConfigError);
}

}  // namespace
}  // namespace muster::testing
