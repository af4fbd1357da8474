// How the ranks of a group that are left agree on who goes on.
#ifndef MUSTER_COLLECTIVES_SRC_REGROUP_H_
#define MUSTER_COLLECTIVES_SRC_REGROUP_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/node_memory.h"
#include "reception.h"
#include "rendezvous.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// Everybody who is left says on a board in shared memory that he has come. Whoever first finds
/// that nobody is missing any more, or that the time is over, writes a list of members down, and
/// makes it everybody's by one compare-and-swap. Nobody leads and nothing is held: a rank that dies
/// before the swap has changed nothing, one that dies after it has decided for all. The consensus
/// is that of Herlihy, Wait-Free Synchronization (1991), section 3.3.
class Regroup {
 public:
  Regroup(SymmetricMemory& memory, Rendezvous& rendezvous, int rank);

  /// Collective over the ranks that are left. Waits for each until it has come, died or left (to be
  /// replaced: until there is a process in its place too), for at most run.timeout(). All get the
  /// same. Throws PeerLost when the others went on without this rank, or the launcher ended the
  /// generation; Timeout when nobody came in the place of a lost rank; ConfigError when the group's
  /// places cannot be taken by others.
  Members agree(const OperationRun& run, Regrouping how);

 private:
  struct Board {
    std::atomic<std::uint64_t> charter;  // where it is in the node memory; 0: not decided
    std::atomic<std::uint32_t> news;     // futex word
    std::atomic<std::uint32_t> came[kMaxLocalRanks];  // 0, or for what: see wish()
  };

  static std::uint32_t wish(Regrouping how) { return how == Regrouping::kShrink ? 1 : 2; }
  bool has_come(int rank, Regrouping how) const { return board_->came[rank].load() == wish(how); }
  /// Of a process in the place of `rank`; -1 when nobody is there.
  int slot_of_candidate(int rank);
  /// Of the process that is `rank` in the next generation, or -1.
  int next_slot(int rank, Regrouping how);
  bool is_missing(int rank, Regrouping how);
  bool nobody_is_missing(Regrouping how);
  bool all_places_are_taken();
  [[noreturn]] void throw_timeout(const OperationRun& run);
  void propose(Regrouping how);

  SymmetricMemory& memory_;
  NodeMemory& node_memory_;
  Rendezvous& rendezvous_;
  const std::unique_ptr<Reception> reception_;  // null for a part of the node
  const int rank_;
  const int world_size_;
  Board* board_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_REGROUP_H_
