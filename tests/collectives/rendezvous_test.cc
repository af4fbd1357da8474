// Meetings without an operation, as the ranks of a node have them beside MPI.
#include "rendezvous.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

namespace muster::internal {
namespace {

// Without that it would neither spin nor know where to yield.
TEST(Rendezvous, ARankThatOnlyMeetsLearnsWhetherItsNodeIsCrowded) {
  const auto created = NodeMemory::create(2, 0);
  const auto meet_once = [&](int rank) {
    const Operation operation;
    const Interruption none;
    const std::atomic<int> waiters{1};
    const std::string name;
    const OperationRun run(operation, 0, name, std::chrono::seconds(20), none, waiters);
    SymmetricMemory memory(NodeGroup::everyone(NodeMemory::attach(dup(created->fd()), 0)), rank);
    Rendezvous rendezvous(memory, rank);
    EXPECT_FALSE(rendezvous.is_known_crowded().has_value());
    rendezvous.meet(run);
    ASSERT_TRUE(rendezvous.is_known_crowded().has_value());
    EXPECT_FALSE(*rendezvous.is_known_crowded()) << "nobody has joined";
  };
  std::thread other([&] { meet_once(1); });
  meet_once(0);
  other.join();
}

}  // namespace
}  // namespace muster::internal
