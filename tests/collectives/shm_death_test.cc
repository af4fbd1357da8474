// Ranks that die or leave, before and in the middle of every operation: what the others are told,
// and how soon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "collectives/faults.h"
#include "collectives/large_victim.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kOperationTimeout = milliseconds(20000);

// The transfers' numbers are their own.
std::string number_after_a_barrier(const AnyOperation& operation) {
  return operation.is_transfer() ? "operation 0:" : "operation 1:";
}

/// Rank 1 of three ends by `die` before any operation; `expect_ends` sees how all of them ended.
void expect_told_at_once(const std::function<void()>& die,
                         const std::function<void(const std::vector<RankEnd>&)>& expect_ends) {
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    SharedNumber death;
    const auto memory = NodeMemory::create(3, 0);
    const auto body = [&](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      if (rank == 1) {
        *death = now_ns();
        die();
      }
      const std::string message =
          error_of<PeerLost>(rank, [&] { way.operation.start(communicator, way.call).wait(); });
      EXPECT_LT(since(*death), kAtOnce);
      EXPECT_THAT(message,
                  AllOf(HasSubstr(way.operation.name + "("),
                        HasSubstr(number_after_a_barrier(way.operation)), HasSubstr("rank 1 ("),
                        HasSubstr("last in barrier, operation 0"), HasSubstr("died")));
      // The communicator stays failed.
      EXPECT_EQ(error_of<PeerLost>(rank, [&] { communicator.barrier().wait(); }), message);
    };
    expect_ends(run_ranks(*memory, 3, kOperationTimeout, body));
  }
}

TEST(ShmFaults, ADeathBeforeAnyOperationIsPeerLostOnEverySurvivorAtOnce) {
  expect_told_at_once([] { raise(SIGKILL); },
                      [](const auto& ends) { expect_survivors_well(ends, 1); });
}

// As std::_Exit() or a library's exit() does: no destructor says that the rank leaves.
TEST(ShmFaults, AnExitWithoutLeavingIsPeerLostOnEverySurvivorAtOnce) {
  expect_told_at_once([] { _exit(0); },
                      [](const auto& ends) {
                        for (const RankEnd& end : ends) EXPECT_TRUE(end.exited_well);
                      });
}

// The victim dies at some point of a stream of operations, while its own are under way.
TEST(ShmFaults, ADeathInTheMiddleIsPeerLostOnEverySurvivorAtOnce) {
  constexpr int kVictim = 0;
  int delay_us = 0;
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    delay_us = (delay_us * 7 + 131) % 3000;
    SharedNumber death;
    const auto memory = NodeMemory::create(2, 0);
    const auto body = [&](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      Call call = way.call;
      call.peer = 1 - rank;
      if (rank == kVictim) {
        answer_for(std::chrono::microseconds(delay_us), way.operation, communicator, call);
        *death = now_ns();
        raise(SIGKILL);
      }
      const std::string message = error_of<PeerLost>(rank, [&] {
        for (;;) way.operation.start(communicator, call).wait();
      });
      EXPECT_LT(since(*death), kAtOnce);
      EXPECT_THAT(message, AllOf(HasSubstr("rank 0 ("), HasSubstr("died")));
    };
    expect_survivors_well(run_ranks(*memory, 2, kOperationTimeout, body), kVictim);
  }
}

TEST(ShmFaults, LeavingIsPeerLostForThoseWhoGoOnInAnyOperation) {
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    SharedNumber leaving;
    run_ranks(3, [&](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      if (rank == 1) {
        *leaving = now_ns();
        return;
      }
      const std::string message =
          error_of<PeerLost>(rank, [&] { way.operation.start(communicator, way.call).wait(); });
      EXPECT_LT(since(*leaving), kAtOnce);
      EXPECT_THAT(message, AllOf(HasSubstr(way.operation.name + "("), HasSubstr("rank 1 ("),
                                 HasSubstr("last in barrier, operation 0"), HasSubstr("left")));
    });
  }
}

TEST(ShmFaults, LeavingAfterTheLastOperationHarmsNobody) {
  for (int repetition = 0; repetition < 20; ++repetition) {
    run_ranks(4, [](int, Communicator& communicator) {
      for (int i = 0; i < 50; ++i) communicator.all_reduce(at::full({i}, 1.0)).wait();
    });
  }
}

// The kernel frees the victim's memory before it reaps the process; nobody may wait for that.
void expect_large_death_told_at_once(const std::function<Work(Communicator&)>& start) {
  SharedNumber touched;
  SharedNumber death;
  const auto memory = NodeMemory::create(2, 0);
  const auto body = [&](int rank, Communicator& communicator) {
    if (rank == 1) {
      ASSERT_TRUE(hold_large_memory());
      *touched = 1;
    }
    while (*touched == 0) std::this_thread::yield();  // that takes seconds
    communicator.barrier().wait();
    if (rank == 1) {
      start(communicator).wait();
      *death = now_ns();
      raise(SIGKILL);
    }
    const std::string message = error_of<PeerLost>(rank, [&] {
      for (;;) start(communicator).wait();
    });
    EXPECT_THAT(message, AllOf(HasSubstr("rank 1 ("), HasSubstr("died")));
    EXPECT_LT(since(*death), kAtOnce);
  };
  expect_survivors_well(run_ranks(*memory, 2, kOperationTimeout, body), 1);
}

TEST(ShmFaults, TheDeathOfALargeProcessIsToldAtOnceToo) {
  const std::string missing = missing_memory();
  if (!missing.empty()) GTEST_SKIP() << missing;
  expect_large_death_told_at_once([](Communicator& c) { return c.barrier(); });
  expect_large_death_told_at_once(
      [](Communicator& c) { return c.all_reduce(at::zeros({1000000})); });
}

// What is mapped needs nobody's help.
TEST(ShmFaults, AWindowIsReadWhateverBecameOfItsRank) {
  enum class Ending { kKilled, kExited, kStopped, kClosed };
  for (const Ending ending :
       {Ending::kKilled, Ending::kExited, Ending::kStopped, Ending::kClosed}) {
    SCOPED_TRACE(static_cast<int>(ending));
    const auto memory = NodeMemory::create(2, 0);
    const auto body = [&](int rank, Communicator& communicator) {
      auto window = communicator.open_window(1000, at::kInt);
      at::Tensor own = window->own();
      own.fill_(rank + 1);
      communicator.barrier().wait();
      if (rank == 1) {
        if (ending == Ending::kKilled) raise(SIGKILL);
        if (ending == Ending::kExited) _exit(0);
        while (ending == Ending::kStopped) raise(SIGSTOP);
        return;
      }
      error_of<Error>(rank,
                      [&] { communicator.barrier().wait(); });  // which rank 1 has not reached
      at::Tensor to = at::zeros({1000}, at::kInt);
      window->read(1, 0, to).wait();
      EXPECT_TRUE(to.eq(2).all().item<bool>());
      kill(memory->control().slots[1].pid, SIGKILL);
    };
    const auto ends = run_ranks(*memory, 2, kPatience, body);
    EXPECT_TRUE(ends[0].exited_well);
  }
}

// The parts of a split stand on their own; the whole needs everybody.
TEST(ShmFaults, ADeathHarmsThePartsThatNeedTheDeadAlone) {
  const auto memory = NodeMemory::create(4, 0);
  const auto body = [&](int rank, Communicator& whole) {
    const auto part = whole.split(rank / 2, rank);
    if (rank == 3) raise(SIGKILL);
    at::Tensor tensor = at::full({10}, rank, at::kLong);
    if (rank == 2) {
      EXPECT_THAT(
          error_of<PeerLost>(rank, [&] { part->all_reduce(tensor).wait(); }),
          AllOf(HasSubstr("of split 0 (color 1)"), HasSubstr("rank 1 ("), HasSubstr("died")));
    } else {
      for (int i = 0; i < 100; ++i) part->all_reduce(tensor.fill_(rank)).wait();
      EXPECT_TRUE(tensor.eq(1).all().item<bool>());
    }
    EXPECT_THAT(error_of<PeerLost>(rank, [&] { whole.barrier().wait(); }),
                AllOf(HasSubstr("rank 3 ("), HasSubstr("died")));
  };
  expect_survivors_well(run_ranks(*memory, 4, kOperationTimeout, body), 3);
}

}  // namespace
}  // namespace muster::testing
