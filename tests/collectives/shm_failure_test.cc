// Ranks that die, leave, fall silent or disagree: what the others are told, and how soon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <string>

#include "collectives/operation_checks.h"
#include "collectives/rank_processes.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A number that all ranks see.
class SharedNumber {
 public:
  SharedNumber()
      : number_(static_cast<std::atomic<std::int64_t>*>(
            mmap(nullptr, sizeof(std::atomic<std::int64_t>), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedNumber() { munmap(number_, sizeof(*number_)); }
  SharedNumber(const SharedNumber&) = delete;
  SharedNumber& operator=(const SharedNumber&) = delete;
  std::atomic<std::int64_t>& operator*() { return *number_; }

 private:
  std::atomic<std::int64_t>* number_;
};

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

milliseconds since(std::int64_t ns) { return milliseconds((now_ns() - ns) / 1000000); }

constexpr std::int64_t kSmall = 100;
constexpr std::int64_t kLarge = 3000000;  // many staging chunks

using Start = std::function<Work(Communicator&)>;

// Every operation, in each of the ways the transport has for it.
std::map<std::string, Start> operations() {
  std::map<std::string, Start> all;
  all["barrier"] = [](Communicator& c) { return c.barrier(); };
  for (const auto& [way, numel] : {std::pair<std::string, std::int64_t>{"small", kSmall},
                                   {"staged", kLarge},
                                   {"direct", kLarge}}) {
    const auto make = [way = way](Communicator& c, std::int64_t elements) {
      return allocate(c, way == "direct" ? Memory::kSymmetric : Memory::kOrdinary, elements,
                      at::kFloat);
    };
    all["all_reduce " + way] = [=, n = numel](Communicator& c) { return c.all_reduce(make(c, n)); };
    all["reduce_scatter " + way] = [=, n = numel](Communicator& c) {
      at::Tensor output = make(c, n);
      return c.reduce_scatter(output, make(c, n * c.world_size()));
    };
    all["all_gather " + way] = [=, n = numel](Communicator& c) {
      at::Tensor output = make(c, n * c.world_size());
      return c.all_gather(output, make(c, n));
    };
    all["broadcast " + way] = [=, n = numel](Communicator& c) {
      return c.broadcast(make(c, n), 0);
    };
    all["canonical_all_reduce " + way] = [=, n = numel](Communicator& c) {
      return c.canonical_all_reduce({make(c, n)}, ReductionTree(c.world_size()));
    };
  }
  return all;
}

std::string first_word(const std::string& name) { return name.substr(0, name.find(' ')); }

// The message of the Expected that `start`'s work throws.
template <typename Expected>
std::string error_of(Communicator& communicator, const Start& start) {
  try {
    start(communicator).wait();
  } catch (const Expected& error) {
    return error.what();
  }
  ADD_FAILURE() << "rank " << communicator.rank() << " saw no error";
  return "";
}

void expect_survivors_well(const std::vector<RankEnd>& ends, int victim) {
  for (int rank = 0; rank < static_cast<int>(ends.size()); ++rank) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    if (rank == victim) {
      EXPECT_EQ(end.signal, SIGKILL);
    } else {
      EXPECT_TRUE(end.exited_well) << "rank " << rank;
    }
  }
}

TEST(ShmFailure, ADeathBeforeAnyOperationIsPeerLostOnEverySurvivorAtOnce) {
  constexpr int kVictim = 1;
  for (const auto& [name, start] : operations()) {
    SCOPED_TRACE(name);
    SharedNumber death;
    const auto memory = NodeMemory::create(3, 0);
    const auto body = [&, start = start](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      if (rank == kVictim) {
        *death = now_ns();
        raise(SIGKILL);
      }
      const std::string message = error_of<PeerLost>(communicator, start);
      EXPECT_LT(since(*death), milliseconds(1000));
      EXPECT_THAT(message, AllOf(HasSubstr(first_word(name)), HasSubstr("operation 1:"),
                                 HasSubstr("rank 1 ("), HasSubstr("died")));
      // The communicator stays failed.
      EXPECT_EQ(error_of<PeerLost>(communicator, [](Communicator& c) { return c.barrier(); }),
                message);
    };
    expect_survivors_well(run_ranks(*memory, 3, milliseconds(20000), body), kVictim);
  }
}

// The victim dies at some point of a stream of operations, while its own are under way.
TEST(ShmFailure, ADeathInTheMiddleIsPeerLostOnEverySurvivorAtOnce) {
  constexpr int kVictim = 0;
  int delay_us = 0;
  for (const auto& [name, start] : operations()) {
    SCOPED_TRACE(name);
    delay_us = (delay_us * 7 + 131) % 3000;
    SharedNumber death;
    const auto memory = NodeMemory::create(2, 0);
    const auto body = [&, start = start](int rank, Communicator& communicator) {
      communicator.barrier().wait();
      if (rank == kVictim) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(delay_us);
        for (Work work = start(communicator); std::chrono::steady_clock::now() < end;) {
          if (work.done()) work = start(communicator);
        }
        *death = now_ns();
        raise(SIGKILL);
      }
      const std::string message = error_of<PeerLost>(communicator, [&](Communicator& c) {
        for (;;) start(c).wait();
        return c.barrier();
      });
      EXPECT_LT(since(*death), milliseconds(1000));
      EXPECT_THAT(message, HasSubstr("rank 0 ("));
    };
    expect_survivors_well(run_ranks(*memory, 2, milliseconds(20000), body), kVictim);
  }
}

TEST(ShmFailure, TheLaunchersWordIsPeerLostToo) {
  const auto memory = NodeMemory::create(2, 4);
  const auto body = [&](int rank, Communicator& communicator) {
    communicator.barrier().wait();
    if (rank == 1) raise(SIGSTOP);
    memory->end_generation();
    EXPECT_THAT(error_of<PeerLost>(communicator, [](Communicator& c) { return c.barrier(); }),
                AllOf(HasSubstr("barrier(), operation 1"), HasSubstr("rank 1 ("),
                      HasSubstr("given up by the launcher")));
    kill(memory->control().slots[1].pid, SIGKILL);
  };
  expect_survivors_well(run_ranks(*memory, 2, milliseconds(20000), body), 1);
}

TEST(ShmFailure, LeavingIsPeerLostForThoseWhoGoOn) {
  run_ranks(2, [](int rank, Communicator& communicator) {
    communicator.barrier().wait();
    if (rank == 1) return;
    EXPECT_THAT(error_of<PeerLost>(communicator, [](Communicator& c) { return c.barrier(); }),
                AllOf(HasSubstr("rank 1 ("), HasSubstr("left"), HasSubstr("last in barrier")));
  });
}

TEST(ShmFailure, LeavingAfterTheLastOperationHarmsNobody) {
  for (int repetition = 0; repetition < 20; ++repetition) {
    run_ranks(4, [](int, Communicator& communicator) {
      for (int i = 0; i < 50; ++i) communicator.all_reduce(at::full({i}, 1.0)).wait();
    });
  }
}

TEST(ShmFailure, SilenceIsATimeoutNamingTheAbsent) {
  const auto memory = NodeMemory::create(3, 0);
  SharedNumber told;
  const auto body = [&](int rank, Communicator& communicator) {
    communicator.barrier().wait();
    if (rank == 2) raise(SIGSTOP);
    // Whoever is later may hear that the other gave up.
    const std::string message = error_of<Error>(
        communicator, [](Communicator& c) { return c.all_reduce(at::full({8}, 1.0)); });
    EXPECT_THAT(message, HasSubstr("all_reduce(sum, Float, 8 elements), operation 1"));
    if (message.find("gave up") == std::string::npos) {
      EXPECT_THAT(message, AllOf(HasSubstr("within 300 ms"), HasSubstr("absent: rank 2 (")));
    }
    if (++*told == 2) kill(memory->control().slots[2].pid, SIGKILL);
  };
  expect_survivors_well(run_ranks(*memory, 3, milliseconds(300), body), 2);
}

// Two calls that differ, and what the message must say of them.
struct Disagreement {
  Start first;
  Start second;
  std::string said_first;
  std::string said_second;
};

TEST(ShmFailure, DisagreementIsAMismatchNamingBothCalls) {
  const std::vector<Disagreement> disagreements = {
      {[](Communicator& c) { return c.barrier(); },
       [](Communicator& c) { return c.all_reduce(at::full({4}, 1.0)); }, "barrier()",
       "all_reduce(sum, Float, 4 elements)"},
      {[](Communicator& c) { return c.all_reduce(at::full({4}, 1.0)); },
       [](Communicator& c) { return c.all_reduce(at::full({5}, 1.0)); }, "4 elements",
       "5 elements"},
      {[](Communicator& c) { return c.all_reduce(at::full({4}, 1.0)); },
       [](Communicator& c) { return c.all_reduce(at::full({400000}, 1.0)); }, "4 elements",
       "400000 elements"},
      {[](Communicator& c) { return c.all_reduce(at::full({4}, 1.0)); },
       [](Communicator& c) { return c.all_reduce(at::full({4}, 1.0, at::kDouble)); }, "Float",
       "Double"},
      {[](Communicator& c) { return c.all_reduce(at::full({4}, 1.0)); },
       [](Communicator& c) { return c.all_reduce(at::full({4}, 1.0), ReduceOp::kMax); }, "sum",
       "max"},
      {[](Communicator& c) { return c.broadcast(at::full({4}, 1.0), 0); },
       [](Communicator& c) { return c.broadcast(at::full({4}, 1.0), 1); }, "root 0", "root 1"},
      {[](Communicator& c) {
         return c.canonical_all_reduce({at::full({4}, 1.0)}, ReductionTree(2));
       },
       [](Communicator& c) {
         return c.canonical_all_reduce({at::full({4}, 1.0)}, ReductionTree(4));
       },
       "2 logical ranks", "4 logical ranks"},
  };
  for (const Disagreement& disagreement : disagreements) {
    run_ranks(2, [&](int rank, Communicator& communicator) {
      const Start& start = rank == 0 ? disagreement.first : disagreement.second;
      EXPECT_THAT(error_of<Mismatch>(communicator, start),
                  AllOf(HasSubstr("operation 0: rank " + std::to_string(rank)),
                        HasSubstr(disagreement.said_first), HasSubstr(disagreement.said_second)));
    });
  }
}

}  // namespace
}  // namespace muster::testing
