// Node memory: who is alive, across real processes that die, leave or have not come; hostile
// descriptors; the seals.
#include "muster/base/node_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "muster/base/error.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kDeadline{5000};

template <typename Condition>
bool becomes_true(Condition condition, milliseconds within = kDeadline) {
  const auto deadline = Clock::now() + within;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

/// A forked process that runs `body` and leaves with its result; killed at the end of the test at
/// the latest.
class Child {
 public:
  explicit Child(const std::function<int()>& body) : pid_(fork()) {
    if (pid_ != 0) return;
    alarm(10);  // should the test itself die
    int status = 99;
    try {
      status = body();
    } catch (const std::exception&) {
    }
    _exit(status);
  }
  ~Child() {
    if (pid_ > 0) kill();
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    wait();
  }
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  bool exits_with_zero() {
    const int status = wait();
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

std::unique_ptr<NodeMemory> attach_again(const NodeMemory& memory) {
  return NodeMemory::attach(dup(memory.fd()), memory.generation());
}

RankState state_of(NodeMemory& memory, int local_rank) {
  return static_cast<RankState>(memory.control().slots[local_rank].state.load());
}

/// Joins and then stays until it is killed.
Child staying_rank(const NodeMemory& memory, int local_rank) {
  return Child([&memory, local_rank]() -> int {
    const auto mine = attach_again(memory);
    mine->join(local_rank);
    for (;;) pause();
  });
}

TEST(NodeMemory, LayoutIsFrozen) {
  EXPECT_EQ(sizeof(RankSlot), 128u);
  EXPECT_EQ(offsetof(NodeControl, generation), 16u);
  EXPECT_EQ(offsetof(NodeControl, slots_taken), 20u);
  EXPECT_EQ(offsetof(NodeControl, unreserved_offset), 24u);
  EXPECT_EQ(offsetof(NodeControl, slots), 576u);
  EXPECT_EQ(NodeMemory::symmetric_offset_bytes() % 65536, 0u);
  EXPECT_GE(NodeMemory::symmetric_offset_bytes(), sizeof(NodeControl));
}

TEST(NodeMemory, AttachSeesWhatCreateWrote) {
  const auto memory = NodeMemory::create(3, 7);
  const auto other = attach_again(*memory);
  EXPECT_EQ(other->control().local_world_size, 3u);
  EXPECT_EQ(other->generation(), 7u);
  EXPECT_FALSE(other->generation_moved());
  EXPECT_EQ(fcntl(other->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(NodeMemory, MemoryIsSharedAndZeroAtFirstTouch) {
  const auto memory = NodeMemory::create(1, 0);
  const auto other = attach_again(*memory);
  const std::uint64_t begin = NodeMemory::symmetric_offset_bytes();
  constexpr std::uint64_t kBytes = 1 << 20;
  std::byte* mine = memory->map(begin, kBytes);
  std::byte* theirs = other->map(begin, kBytes);
  ASSERT_NE(mine, theirs);
  for (std::uint64_t i = 0; i < kBytes; ++i) ASSERT_EQ(mine[i], std::byte{0}) << i;
  mine[kBytes - 1] = std::byte{42};
  EXPECT_EQ(theirs[kBytes - 1], std::byte{42});
  // The far end of it costs no more than the page touched.
  std::byte* last = memory->map(NodeMemory::kCapacityBytes - 65536, 65536);
  EXPECT_EQ(last[65535], std::byte{0});
}

TEST(NodeMemory, ReservesWithoutOverlapUntilItIsFull) {
  const auto memory = NodeMemory::create(1, 0);
  const auto other = attach_again(*memory);
  const std::uint64_t first = memory->reserve(1);
  EXPECT_EQ(first, NodeMemory::symmetric_offset_bytes());
  EXPECT_EQ(other->reserve(65537), first + 65536);
  EXPECT_EQ(memory->reserve(1), first + 3 * 65536);
  EXPECT_THROW(memory->reserve(NodeMemory::kMostAtOnceBytes + 1), ConfigError);
  EXPECT_THROW(memory->reserve(~std::uint64_t{0}), ConfigError);
  EXPECT_EQ(other->reserve(1), first + 4 * 65536);
  const std::uint64_t most = NodeMemory::kMostAtOnceBytes;
  // Whole pages are taken.
  for (std::uint64_t left = NodeMemory::kCapacityBytes - 4 * 65536 - first; left > most;
       left -= most + 1)
    memory->reserve(most);
  EXPECT_THROW(memory->reserve(most), ConfigError);
}

TEST(NodeMemory, BlocksAreFoundByNumber) {
  const auto memory = NodeMemory::create(1, 0);
  const auto other = attach_again(*memory);
  const std::uint64_t third = memory->named_block(3, 100);
  EXPECT_EQ(other->named_block(3, 100), third);
  EXPECT_NE(other->named_block(4, 100), third);
  EXPECT_THROW(memory->named_block(kMaxNamedBlocks, 1), InternalError);
}

TEST(NodeMemory, MapOutsideTheCapacityOrUnalignedThrows) {
  const auto memory = NodeMemory::create(1, 0);
  EXPECT_THROW(memory->map(1, 4096), InternalError);
  EXPECT_THROW(memory->map(0, 0), InternalError);
  EXPECT_THROW(memory->map(NodeMemory::kCapacityBytes, 4096), InternalError);
  EXPECT_THROW(memory->map(65536, NodeMemory::kCapacityBytes), InternalError);
  EXPECT_THROW(memory->map(65536, ~std::uint64_t{0}), InternalError);
}

TEST(NodeMemory, CreateRefusesAnImpossibleWorld) {
  EXPECT_THROW(NodeMemory::create(0, 0), InternalError);
  EXPECT_THROW(NodeMemory::create(kMaxLocalRanks + 1, 0), InternalError);
}

TEST(NodeMemory, ALimitOnTheSizeOfFilesIsToldNotDiedOf) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit low{1 << 30, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  std::string message;
  try {
    NodeMemory::create(1, 0);
  } catch (const ConfigError& e) {
    message = e.what();
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_NE(message.find("ulimit -f unlimited"), std::string::npos) << message;
}

TEST(NodeMemory, IsSealedAgainstResize) {
  const auto memory = NodeMemory::create(1, 0);
  EXPECT_EQ(ftruncate(memory->fd(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(memory->fd(), static_cast<off_t>(NodeMemory::kCapacityBytes + 4096)), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(NodeMemory, HostileDescriptorIsConfigErrorAndStaysOpen) {
  EXPECT_THROW(NodeMemory::attach(-1, 0), ConfigError);
  EXPECT_THROW(NodeMemory::attach(1 << 20, 0), ConfigError);
  const auto expect_refused = [](int fd) {
    ASSERT_GE(fd, 0);
    EXPECT_THROW(NodeMemory::attach(fd, 0), ConfigError);
    EXPECT_EQ(close(fd), 0) << "the caller's descriptor must stay open";
  };
  expect_refused(open("/dev/null", O_RDWR));
  const auto as_large = [](unsigned flags) {
    const int fd = memfd_create("muster-test", flags);
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(NodeMemory::kCapacityBytes)), 0);
    return fd;
  };
  // The right size and first bytes, but it could shrink.
  const auto real = NodeMemory::create(1, 0);
  const int unsealed = as_large(MFD_ALLOW_SEALING);
  EXPECT_EQ(pwrite(unsealed, &real->control(), 64, 0), 64);
  expect_refused(unsealed);
  const int zeros = as_large(MFD_ALLOW_SEALING);
  EXPECT_EQ(fcntl(zeros, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  expect_refused(zeros);  // sealed, but no magic
}

TEST(NodeMemory, OtherLayoutVersionIsRefused) {
  const auto memory = NodeMemory::create(1, 0);
  memory->control().version += 1;
  try {
    attach_again(*memory);
    FAIL() << "attached to another version";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("found 4"), std::string::npos) << e.what();
  }
}

TEST(NodeMemory, AbsentPeerIsNotLost) {
  const auto memory = NodeMemory::create(2, 0);
  EXPECT_EQ(state_of(*memory, 1), RankState::kAbsent);
  EXPECT_FALSE(memory->peer_is_lost(1));
}

TEST(NodeMemory, PeerOutsideTheNodeIsInternalError) {
  const auto memory = NodeMemory::create(2, 0);
  EXPECT_THROW(memory->peer_is_lost(2), InternalError);
  EXPECT_THROW(memory->peer_is_lost(-1), InternalError);
  EXPECT_THROW(memory->join(2), InternalError);
}

TEST(NodeMemory, KilledPeerIsLostWithin100Ms) {
  const auto memory = NodeMemory::create(2, 0);
  Child child = staying_rank(*memory, 1);
  ASSERT_TRUE(becomes_true([&] { return state_of(*memory, 1) == RankState::kAlive; }));
  EXPECT_EQ(memory->control().slots[1].pid.load(), child.pid());
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(memory->peer_is_lost(1));
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  // Design: 4 ms; 100 for a machine with other work.
  EXPECT_TRUE(becomes_true([&] { return memory->peer_is_lost(1); }, milliseconds(100)));
  // Every later look, and every other looker, says so too.
  const auto other = attach_again(*memory);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(memory->peer_is_lost(1));
    EXPECT_TRUE(other->peer_is_lost(1));
    EXPECT_TRUE(other->peer_is_gone(1));
  }
  EXPECT_EQ(state_of(*memory, 1), RankState::kDied);
}

TEST(NodeMemory, PeerThatLeavesIsLost) {
  const auto memory = NodeMemory::create(2, 0);
  Child child([&] {
    const auto mine = attach_again(*memory);
    mine->join(1);
    mine->leave(1);
    return 0;
  });
  EXPECT_TRUE(child.exits_with_zero());
  EXPECT_EQ(state_of(*memory, 1), RankState::kLeft);
  EXPECT_TRUE(memory->peer_is_lost(1));
}

TEST(NodeMemory, DestructorLeaves) {
  const auto memory = NodeMemory::create(1, 0);
  {
    const auto mine = attach_again(*memory);
    mine->join(0);
    EXPECT_FALSE(mine->peer_is_lost(0)) << "a rank is not lost to itself";
  }
  EXPECT_EQ(state_of(*memory, 0), RankState::kLeft);
  // A mutex unmapped while held would be a broken link of this thread's robust list.
  const auto next = NodeMemory::create(1, 1);
  next->join(0);
  next->leave(0);
}

// A data loader's worker or popen(): the copy of the object in a forked child owns no mutex.
TEST(NodeMemory, ForkedChildOfARankDoesNotLeaveForIt) {
  const auto memory = NodeMemory::create(1, 0);
  auto mine = attach_again(*memory);
  mine->join(0);
  Child child([&] {
    mine.reset();
    return 0;
  });
  EXPECT_TRUE(child.exits_with_zero());
  EXPECT_EQ(state_of(*memory, 0), RankState::kAlive);
}

TEST(NodeMemory, LocalRankIsJoinedOnce) {
  const auto memory = NodeMemory::create(2, 0);
  {
    Child child = staying_rank(*memory, 1);
    ASSERT_TRUE(becomes_true([&] { return state_of(*memory, 1) == RankState::kAlive; }));
    EXPECT_THROW(memory->join(1), InternalError);  // an error at once, no wait for the other to die
  }
  EXPECT_THROW(memory->join(1), InternalError);  // and none takes a dead rank's place
  EXPECT_THROW(memory->leave(0), InternalError);
}

TEST(NodeMemory, WhoComesLaterHasASlotOfItsOwn) {
  const auto memory = NodeMemory::create(kMaxLocalRanks - 1, 0);
  EXPECT_THROW(memory->peer_is_gone(kMaxLocalRanks - 1), InternalError);
  {
    Child child([&memory]() -> int {
      const auto mine = attach_again(*memory);
      mine->join_later();
      for (;;) pause();
    });
    ASSERT_TRUE(becomes_true([&] { return state_of(*memory, 255) == RankState::kAlive; }));
    EXPECT_EQ(memory->control().slots[255].pid.load(), child.pid());
    EXPECT_FALSE(memory->peer_is_gone(255));
  }
  EXPECT_TRUE(becomes_true([&] { return memory->peer_is_gone(255); }));
  EXPECT_THROW(memory->join_later(), ConfigError);  // no slot is left
}

TEST(NodeMemory, EndOfGenerationLosesEveryPeerAndWakesAWaiter) {
  const auto memory = NodeMemory::create(2, 4);
  std::atomic<std::uint32_t>& ready = memory->control().slots[1].state;
  Child child([&] {
    const auto mine = attach_again(*memory);
    mine->join(1);
    // Without the wake this would sleep for longer than the alarm lets it live.
    while (!mine->generation_moved()) futex_wait(mine->control().generation, 4, 60 * 1000 * 1000);
    return mine->peer_is_lost(0) ? 0 : 1;  // absent, yet lost: the generation is over
  });
  ASSERT_TRUE(
      becomes_true([&] { return ready.load() == static_cast<std::uint32_t>(RankState::kAlive); }));
  // Wait until it sleeps, so that it is the wake that is tested.
  const std::string path = "/proc/" + std::to_string(child.pid()) + "/stat";
  ASSERT_TRUE(becomes_true([&] {
    char text[256] = {};
    const int fd = open(path.c_str(), O_RDONLY);
    const ssize_t bytes = read(fd, text, sizeof(text) - 1);
    close(fd);
    return bytes > 0 && std::string(text).find(") S ") != std::string::npos;
  }));
  const auto start = Clock::now();
  memory->end_generation();
  EXPECT_TRUE(child.exits_with_zero());
  EXPECT_LT(Clock::now() - start, kDeadline);
  EXPECT_TRUE(memory->generation_moved());
  EXPECT_TRUE(memory->peer_is_lost(0));
  EXPECT_FALSE(memory->peer_is_gone(0));
}

TEST(NodeMemory, RankOfAnEarlierGenerationSeesThatItMoved) {
  const auto memory = NodeMemory::create(1, 5);
  EXPECT_TRUE(NodeMemory::attach(dup(memory->fd()), 4)->generation_moved());
}

TEST(Futex, WaitEndsAtTheTimeoutAndAtOnceWhenTheWordDiffers) {
  const std::atomic<std::uint32_t> word{1};
  auto start = Clock::now();
  futex_wait(word, 0, 60 * 1000 * 1000);
  EXPECT_LT(Clock::now() - start, kDeadline);
  start = Clock::now();
  futex_wait(word, 1, 20 * 1000);
  EXPECT_GE(Clock::now() - start, milliseconds(19));
}

}  // namespace
}  // namespace muster
