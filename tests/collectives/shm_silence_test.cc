// Ranks that fall silent, and ranks that abort, at every operation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>

#include "collectives/faults.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ShmFaults, SilenceIsATimeoutNamingTheAbsentInAnyOperation) {
  constexpr int kVictim = 2;
  constexpr auto kGivenUpAfter = kPatience;
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    const auto memory = NodeMemory::create(3, 0);
    SharedNumber silent;
    SharedNumber told;
    const auto body = [&](int rank, Communicator& communicator) {
      if (rank == kVictim) {
        *silent = 1;
        raise(SIGSTOP);
      }
      while (*silent == 0) std::this_thread::yield();
      Call call = way.call;
      call.peer = kVictim;
      const std::int64_t begin = now_ns();
      const std::string message =
          error_of<Error>(rank, [&] { way.operation.start(communicator, call).wait(); });
      EXPECT_LT(since(begin), kGivenUpAfter + kAtOnce);
      EXPECT_THAT(message, AllOf(HasSubstr(way.operation.name + "("), HasSubstr("rank 2 ("),
                                 HasSubstr("before its first operation")));
      // Whoever is later may hear that the other gave up.
      const bool told_by_other = message.find("gave up") != std::string::npos;
      if (!told_by_other) {
        EXPECT_GE(since(begin), kGivenUpAfter);
        EXPECT_THAT(message, HasSubstr("within " + std::to_string(kGivenUpAfter.count()) + " ms"));
      }
      if (++*told == 2) kill(memory->control().slots[kVictim].pid, SIGKILL);
    };
    expect_survivors_well(run_ranks(*memory, 3, kGivenUpAfter, body), kVictim);
  }
}

// The victim falls silent at some point of a stream of operations, while its own are under way.
TEST(ShmFaults, SilenceInTheMiddleIsATimeoutToo) {
  constexpr int kVictim = 0;
  constexpr auto kGivenUpAfter = 3 * kPatience;  // for operations that do end, on a busy machine
  int delay_us = 0;
  for (const Way& way : every_operation_in_every_way()) {
    const bool staged = way.call.numel > Call{}.numel && way.call.memory == Memory::kOrdinary;
    if (way.operation.has_data() && !staged) continue;  // those that are in it for long
    SCOPED_TRACE(way.title);
    delay_us = (delay_us * 7 + 131) % 3000;
    SharedNumber silence;
    const auto memory = NodeMemory::create(2, 0);
    const auto body = [&](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      Call call = way.call;
      call.peer = 1 - rank;
      if (rank == kVictim) {
        answer_for(std::chrono::microseconds(delay_us), way.operation, communicator, call);
        *silence = now_ns();
        for (;;) raise(SIGSTOP);
      }
      std::int64_t begin = 0;
      const std::string message = error_of<Timeout>(rank, [&] {
        for (;;) {
          begin = now_ns();
          way.operation.start(communicator, call).wait();
        }
      });
      // What blocks is followed by a barrier.
      const std::string name = way.operation.blocks() ? "" : way.operation.name;
      EXPECT_GE(since(begin), kGivenUpAfter);
      EXPECT_LT(since(*silence), kGivenUpAfter + kAtOnce);
      EXPECT_THAT(message,
                  AllOf(HasSubstr(name + "("), HasSubstr("rank 0 ("),
                        HasSubstr("within " + std::to_string(kGivenUpAfter.count()) + " ms")));
      kill(memory->control().slots[kVictim].pid, SIGKILL);
    };
    expect_survivors_well(run_ranks(*memory, 2, kGivenUpAfter, body), kVictim);
  }
}

TEST(ShmFaults, TheLaunchersWordIsPeerLostInAnyOperation) {
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    const auto memory = NodeMemory::create(2, 4);
    const auto body = [&](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      if (rank == 1) raise(SIGSTOP);
      memory->end_generation();
      EXPECT_THAT(
          error_of<PeerLost>(rank, [&] { way.operation.start(communicator, way.call).wait(); }),
          AllOf(HasSubstr(way.operation.name + "("), HasSubstr("rank 1 ("),
                HasSubstr("given up by the launcher")));
      kill(memory->control().slots[1].pid, SIGKILL);
    };
    expect_survivors_well(run_ranks(*memory, 2, milliseconds(20000), body), 1);
  }
}

// Rank 1 waits for rank 2, which stays away until the abort; rank 0 waits for rank 1.
TEST(ShmFaults, AbortWakesItsOwnWaitersAndIsPeerLostForTheOthersInAnyOperation) {
  constexpr int kAborting = 1;
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    const auto memory = NodeMemory::create(3, 0);
    SharedNumber begun;
    SharedNumber aborted;
    const auto body = [&](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      Call call = way.call;
      call.peer = rank == kAborting ? 2 : kAborting;
      const auto run = [&] { way.operation.start(communicator, call).wait(); };
      if (rank == kAborting) {
        std::thread aborter([&] {
          const char* doing = memory->control().slots[kAborting].operation;
          while (std::strcmp(doing, way.operation.name.c_str()) != 0) std::this_thread::yield();
          *begun = now_ns();
          communicator.abort("out of patience");
          *aborted = 1;
        });
        const std::string message = error_of<PeerLost>(rank, run);
        aborter.join();
        EXPECT_THAT(message, HasSubstr("aborted by this rank: out of patience"));
        EXPECT_THAT(error_of<PeerLost>(rank, [&] { communicator.barrier().wait(); }), message);
      } else {
        while (rank == 2 && *aborted == 0) std::this_thread::yield();
        // An operation that had all it needed of rank 1 ends well; the next cannot.
        const std::string message = error_of<PeerLost>(rank, [&] {
          for (;;) run();
        });
        EXPECT_THAT(message, AllOf(HasSubstr("rank 1 ("), HasSubstr("gave up")));
      }
      EXPECT_LT(since(*begun), kAtOnce);
    };
    for (const RankEnd& end : run_ranks(*memory, 3, milliseconds(20000), body)) {
      EXPECT_TRUE(end.exited_well);
    }
  }
}

TEST(ShmFaults, AnAbortedPartLeavesTheWholeUsable) {
  run_ranks(3, [](int rank, Communicator& whole) {
    const auto part = whole.split(rank == 2 ? -1 : 0, rank);
    if (rank == 1) part->abort("not needed any more");
    if (part) error_of<PeerLost>(rank, [&] { part->barrier().wait(); });
    at::Tensor tensor = at::full({100000}, rank, at::kLong);
    whole.all_reduce(tensor).wait();
    EXPECT_TRUE(tensor.eq(3).all().item<bool>());
    const auto again = whole.split(rank == 2 ? -1 : 0, rank);
    if (again) again->barrier().wait();
  });
}

}  // namespace
}  // namespace muster::testing
