// Ranks that call different things, at every operation: both calls are named on both sides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "collectives/disagreements.h"
#include "collectives/faults.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void expect_mismatch(const std::function<Work(Communicator&)>& first,
                     const std::function<Work(Communicator&)>& second,
                     const std::string& said_first, const std::string& said_second) {
  run_ranks(2, [&](int rank, Communicator& communicator) {
    EXPECT_THAT(
        error_of<Mismatch>(rank, [&] { (rank == 0 ? first : second)(communicator).wait(); }),
        AllOf(HasSubstr("operation 0"), HasSubstr("rank 0 "), HasSubstr("rank 1"),
              HasSubstr(said_first), HasSubstr(said_second)));
  });
}

TEST(ShmFaults, AnotherArgumentIsAMismatchNamingBothCalls) {
  for (const AnyOperation& operation : every_operation()) {
    const AnyOperation answer = answer_to(operation);
    const Call call{.peer = 1};
    for (Disagreement& disagreement : disagreements(operation, call, 2)) {
      SCOPED_TRACE(operation.title() + ", " + disagreement.title);
      disagreement.other.peer = 0;
      expect_mismatch([&](Communicator& c) { return operation.start(c, call); },
                      [&](Communicator& c) { return answer.start(c, disagreement.other); },
                      disagreement.said_first, disagreement.said_second);
    }
  }
}

TEST(ShmFaults, AnotherOperationIsAMismatchNamingBothCalls) {
  const std::vector<AnyOperation> all = every_operation();
  for (const AnyOperation& first : all) {
    for (const AnyOperation& second : all) {
      if (first.name == second.name || first.is_transfer() || second.is_transfer()) continue;
      SCOPED_TRACE(first.title() + " and " + second.title());
      const Call call;
      expect_mismatch([&](Communicator& c) { return first.start(c, call); },
                      [&](Communicator& c) { return second.start(c, call); },
                      "rank 0 called " + first.name + "(", "rank 1 called " + second.name + "(");
    }
  }
}

// A collective begins when the transfers before it have ended, so neither would ever go on. Rank 2
// waits in the collective as well.
TEST(ShmFaults, ATransferThatMeetsACollectiveIsAMismatchAtOnceOnEveryRank) {
  const std::vector<AnyOperation> all = every_operation();
  for (const AnyOperation& transfer : all) {
    if (!transfer.is_transfer()) continue;
    for (const AnyOperation& collective : all) {
      if (collective.is_transfer()) continue;
      SCOPED_TRACE(transfer.title() + " and " + collective.title());
      run_ranks(3, [&](int rank, Communicator& communicator) {
        communicator.barrier().wait();
        const Call call{.numel = 100000, .peer = 1};
        const std::int64_t begin = now_ns();
        const std::string message = error_of<Mismatch>(
            rank, [&] { (rank == 0 ? transfer : collective).start(communicator, call).wait(); });
        EXPECT_LT(since(begin), kAtOnce);
        EXPECT_THAT(message,
                    AllOf(HasSubstr("rank 0 called " + transfer.name + "(Float, 100000 elements) " +
                                    (transfer.name == "send" ? "to" : "from") + " rank 1"),
                          HasSubstr("rank " + std::to_string(std::max(rank, 1)) + " called " +
                                    collective.name + "(")));
      });
    }
  }
}

// The peer is still in a collective that this rank has left, and answers after it.
TEST(ShmFaults, ATransferThatOvertakesACollectiveIsNoMismatch) {
  run_ranks(2, [](int rank, Communicator& communicator) {
    at::Tensor gathered = at::empty({2000000}, at::kFloat);
    at::Tensor tensor = at::full({10}, rank, at::kLong);
    for (int i = 0; i < 100; ++i) {
      Work gather = communicator.gather(gathered, gathered.narrow(0, 1000000 * rank, 1000000), 0);
      Work transfer = rank == 0 ? communicator.recv(tensor, 1) : communicator.send(tensor, 0);
      transfer.wait();
      gather.wait();
    }
    EXPECT_TRUE(tensor.eq(1).all().item<bool>());
  });
}

// Two of three agree; all three are told who does not.
TEST(ShmFaults, TheMajorityIsToldWhoDisagrees) {
  for (const AnyOperation& operation : every_operation()) {
    if (operation.is_transfer() || operation.name == "barrier") continue;
    SCOPED_TRACE(operation.title());
    run_ranks(3, [&](int rank, Communicator& communicator) {
      const auto run = [&] {
        const Work work =
            rank == 2 ? communicator.barrier() : operation.start(communicator, Call{});
        Work(work).wait();
      };
      EXPECT_THAT(error_of<Mismatch>(rank, run),
                  AllOf(HasSubstr("rank 2 called barrier()"),
                        HasSubstr(" called " + operation.name + "(")));
    });
  }
}

}  // namespace
}  // namespace muster::testing
