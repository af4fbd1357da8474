// Memory that every rank of the node maps, one copy a rank, laid out alike on all ranks without
// talking.
#ifndef MUSTER_COLLECTIVES_SRC_SYMMETRIC_MEMORY_H_
#define MUSTER_COLLECTIVES_SRC_SYMMETRIC_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "muster/base/node_memory.h"

namespace muster::internal {

/// Hands out the symmetric region of a NodeMemory by a bump pointer. All ranks ask for the same
/// sizes in the same order, so their offsets agree. Memory is never reused: it goes back when the
/// NodeMemory does. Any thread.
class SymmetricMemory {
 public:
  SymmetricMemory(std::shared_ptr<NodeMemory> node_memory, int rank, int world_size);

  /// One block in which all ranks write.
  std::byte* allocate_shared(std::int64_t bytes);

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

  Block allocate(std::int64_t bytes, int copies);

  std::shared_ptr<NodeMemory> node_memory_;
  int rank_;
  int world_size_;
  mutable std::mutex mutex_;
  std::uint64_t next_offset_;
  std::vector<Block> blocks_;  // of allocate_copies(), by offset
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SYMMETRIC_MEMORY_H_
