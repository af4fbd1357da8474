// How the ranks of a group that are left agree on who they are.
#ifndef MUSTER_COLLECTIVES_SRC_REGROUP_H_
#define MUSTER_COLLECTIVES_SRC_REGROUP_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "muster/base/node_memory.h"
#include "rendezvous.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// Everybody who is left says on a board in shared memory that he has come. Whoever first finds
/// that nobody is missing any more, or that the time is over, writes a list of members in a place
/// of his own, and makes it everybody's by one compare-and-swap. Nobody leads and nothing is held:
/// a rank that dies before the swap has changed nothing, one that dies after it has decided for
/// all. The consensus is that of Herlihy, Wait-Free Synchronization (1991), section 3.3.
class Regroup {
 public:
  Regroup(SymmetricMemory& memory, Rendezvous& rendezvous, int rank);

  /// Ranks of the group in ascending order, this one among them, and where their log of allocations
  /// is.
  struct Members {
    std::vector<int> ranks;
    std::uint64_t log_offset = 0;
  };

  /// Collective over the ranks that are left. Waits for each until it has come, died or left, for
  /// at most run.timeout(). All get the same. Throws PeerLost when the others went on without this
  /// rank, or the launcher ended the generation.
  Members agree(const OperationRun& run);

 private:
  struct alignas(128) Proposal {
    std::uint64_t log_offset;
    std::int32_t size;
    std::int32_t ranks[kMaxLocalRanks];
  };
  struct Board {
    std::atomic<std::uint32_t> decided;  // futex word: 0, or one more than the rank that proposed
    std::atomic<std::uint32_t> came[kMaxLocalRanks];
  };

  bool has_come(int rank) const;
  bool nobody_is_missing();
  void propose();

  SymmetricMemory& memory_;
  Rendezvous& rendezvous_;
  const int rank_;
  const int world_size_;
  Board* board_;
  Proposal* proposals_;  // by rank
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_REGROUP_H_
