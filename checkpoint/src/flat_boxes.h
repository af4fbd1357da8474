// Flat ranges of a tensor as boxes of its shape.
#ifndef MUSTER_CHECKPOINT_SRC_FLAT_BOXES_H_
#define MUSTER_CHECKPOINT_SRC_FLAT_BOXES_H_

#include <cstdint>
#include <vector>

namespace muster::checkpoint::internal {

/// Elements start[d] to start[d] + count[d] of each dimension d.
struct Box {
  std::vector<std::int64_t> start;
  std::vector<std::int64_t> count;

  std::int64_t numel() const;
};

/// The flattened elements [begin, end) of a tensor of `shape` (one dimension or more) as boxes
/// whose elements in row-major order, one box after the other, are those of the range in order; at
/// most two for each dimension. Pure.
std::vector<Box> boxes_of(std::int64_t begin, std::int64_t end,
                          const std::vector<std::int64_t>& shape);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_FLAT_BOXES_H_
