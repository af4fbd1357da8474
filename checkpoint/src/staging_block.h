// An owned copy of a shard: what a background write reads while the live tensors go on changing.
#ifndef MUSTER_CHECKPOINT_SRC_STAGING_BLOCK_H_
#define MUSTER_CHECKPOINT_SRC_STAGING_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// One block of memory that grows to the largest shard staged in it and is used again.
class StagingBlock {
 public:
  /// Copies all sources' bytes; what was staged before is gone. Throws CheckpointError when a range
  /// is wrong.
  void assign(std::span<const SourceRange> sources);

  /// The staged ranges, with addresses in the block; valid until the next assign().
  const std::vector<SourceRange>& sources() const { return sources_; }
  std::int64_t capacity_bytes() const { return static_cast<std::int64_t>(capacity_bytes_); }

 private:
  std::unique_ptr<std::byte[]> block_;
  std::size_t capacity_bytes_ = 0;
  std::vector<SourceRange> sources_;
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_STAGING_BLOCK_H_
