// Memory that every rank of the node maps, one copy a rank, laid out alike on all ranks without
// talking.
#ifndef MUSTER_COLLECTIVES_SRC_SYMMETRIC_MEMORY_H_
#define MUSTER_COLLECTIVES_SRC_SYMMETRIC_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "muster/base/node_memory.h"
#include "owner_process.h"

namespace muster::internal {

/// The ranks of one node that communicate with each other, and where they agree on their memory.
struct NodeGroup {
  std::shared_ptr<NodeMemory> memory;
  /// Element r: the slot in the node memory of rank r of the group.
  std::vector<int> slots;
  /// Of the group's allocation log in the node memory.
  std::uint64_t log_offset = 0;
  /// Element r: what messages call rank r of the group; none: r.
  std::vector<int> names = {};
  /// Rank r of the group is rank r of the node's, or a process that came in its place.
  bool is_whole_node = false;
  int generation = 0;

  int world_size() const { return static_cast<int>(slots.size()); }
  /// All ranks that `memory` was made for.
  static NodeGroup everyone(std::shared_ptr<NodeMemory> memory);
};

/// Hands out blocks of a NodeMemory to a group. All ranks ask for the same sizes in the same order:
/// the i-th request of each means the same block, whose place the first to ask writes into the
/// group's log. Addresses are never reused. What lies behind allocate_copies() goes back to the
/// system when every rank has destroyed its SymmetricMemory, died or been excluded, but for the
/// copies of excluded ranks that live on; the rest, some pages, when no excluded rank lives on
/// either. Any thread.
class SymmetricMemory {
 public:
  static constexpr int kMaxAllocations = 8192;

  SymmetricMemory(NodeGroup group, int rank);
  ~SymmetricMemory();
  SymmetricMemory(const SymmetricMemory&) = delete;
  SymmetricMemory& operator=(const SymmetricMemory&) = delete;

  /// The bytes of a group's log, zero in the beginning.
  static std::int64_t log_bytes();
  /// Takes room for the logs of `groups` of the node's ranks, which one rank does and tells the
  /// others. Throws as NodeMemory::reserve().
  std::uint64_t reserve_logs(std::size_t groups);
  /// Where in that room the log of one group is.
  static std::uint64_t log_at(std::uint64_t logs, std::size_t group);

  const NodeGroup& group() const { return group_; }

  /// The others go on without `rank`, so that they do not keep anything for it.
  void exclude(int rank);
  bool is_excluded(int rank) const;

  /// One block in which all ranks write.
  std::byte* allocate_shared(std::int64_t bytes);
  /// The same, by its offset in the node memory; not mapped.
  std::uint64_t reserve_shared(std::int64_t bytes);

  /// One block a rank; element r is rank r's.
  std::vector<std::byte*> allocate_copies(std::int64_t bytes);

  /// Where in the node memory [address, address + bytes) lies: the same number means the same bytes
  /// in every process. Nothing when it is not wholly within one allocate_copies() block of this
  /// rank.
  std::optional<std::uint64_t> location(const std::byte* address, std::int64_t bytes) const;

  /// The inverse of location(), for any rank's. nullptr when this process has not allocated that
  /// memory.
  std::byte* at_location(std::uint64_t location, std::int64_t bytes) const;

 private:
  struct Block {
    std::uint64_t offset;  // of rank 0's copy in the node memory
    std::uint64_t stride;  // from one rank's copy to the next
    std::byte* base;       // of rank 0's copy in this process
  };
  struct Shared {
    std::uint64_t offset;
    std::uint64_t bytes;
    std::byte* base;
  };
  // The place and the size are each decided by whoever comes first.
  struct LogEntry {
    std::atomic<std::uint64_t> offset;
    std::atomic<std::uint64_t> bytes;
  };

  struct Log {
    std::atomic<std::uint32_t> uses[kMaxLocalRanks];  // Use, by rank
    LogEntry entries[kMaxAllocations];
  };
  enum class Use : std::uint32_t { kUses = 0, kExcluded = 1, kDone = 2 };

  Use use_of(int rank) const { return static_cast<Use>(log_->uses[rank].load()); }
  bool lives(int rank);
  std::uint64_t place_next(std::uint64_t bytes);

  const OwnerProcess owner_;
  NodeGroup group_;
  int rank_;
  Log* log_;
  mutable std::mutex mutex_;
  int allocations_ = 0;
  std::vector<Block> blocks_;   // of allocate_copies(), by offset
  std::vector<Shared> shared_;  // of allocate_shared()
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SYMMETRIC_MEMORY_H_
