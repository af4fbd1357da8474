// An owned copy of a shard: what a background write reads while the live tensors go on changing.
#ifndef MUSTER_CHECKPOINT_SRC_STAGING_BLOCK_H_
#define MUSTER_CHECKPOINT_SRC_STAGING_BLOCK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "block_writer.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// One block of memory that grows to the largest shard staged in it and is used again.
class StagingBlock {
 public:
  /// How large the block must be. Throws CheckpointError when a range is wrong.
  static std::int64_t bytes_needed(std::span<const SourceRange> sources);

  /// Makes room for the sources; what was staged before is gone. Throws CheckpointError when a
  /// range is wrong or there is no memory.
  void reserve(std::span<const SourceRange> sources);
  /// Copies the bytes of the same sources. Never throws.
  void copy(std::span<const SourceRange> sources);
  /// Any thread: blocks until copy() has filled the block up to `end`.
  void wait_for_bytes(const std::byte* end) const;

  /// The staged ranges, with addresses in the block; valid until the next reserve().
  const std::vector<SourceRange>& sources() const { return sources_; }
  std::int64_t capacity_bytes() const { return static_cast<std::int64_t>(block_.bytes()); }

 private:
  AlignedMemory block_;
  std::vector<SourceRange> sources_;
  std::atomic<const std::byte*> copied_up_to_{nullptr};
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_STAGING_BLOCK_H_
