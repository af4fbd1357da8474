// A piece of a tensor as checkpoints know it: the tensor's name, type and shape, and a flat range
// of its elements.
#ifndef MUSTER_CHECKPOINT_TENSOR_RANGE_H_
#define MUSTER_CHECKPOINT_TENSOR_RANGE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "muster/base/dtype.h"

namespace muster::checkpoint {

/// Elements [begin, end) of the flattened (row-major) tensor `name`, whose full shape is `shape`.
/// Any rank may store any range, so a checkpoint is free of world size and sharding.
struct TensorRange {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;  ///< Of the whole tensor; {} is a scalar (one element).
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t numel() const { return end - begin; }
  std::int64_t bytes() const { return numel() * dtype_bytes(dtype); }

  bool operator==(const TensorRange&) const = default;
};

/// A range and the memory that holds its elements: contiguous, `range.bytes()` bytes, not owned.
struct SourceRange {
  TensorRange range;
  const void* data = nullptr;
};

/// Blocks until the bytes of a source before address `end` are there: with it a write may begin
/// while its sources are still being filled. They are filled in their order, each from its first
/// byte to its last. Any thread.
using WaitForBytes = std::function<void(const std::byte* end)>;

/// A range and the memory that its elements are to come to: as SourceRange.
struct TargetRange {
  TensorRange range;
  void* data = nullptr;
};

/// Elements of a tensor of this shape. Throws CheckpointError when a dimension is negative or the
/// tensor's bytes overflow; `name` is for the message.
std::int64_t checked_numel(const std::string& name, DType dtype,
                           const std::vector<std::int64_t>& shape);

/// The whole tensor as a range.
TensorRange whole_tensor(std::string name, DType dtype, std::vector<std::int64_t> shape);

/// "fc.weight float32 [10, 64] elements [0, 320)", for messages.
std::string describe(const TensorRange& range);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_TENSOR_RANGE_H_
