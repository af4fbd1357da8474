// Sizes of tensors without overflow, and ranges as text.
#include "muster/checkpoint/tensor_range.h"

#include <algorithm>
#include <utility>

#include "muster/base/error.h"

namespace muster::checkpoint {
namespace {

// Far beyond any tensor, and far enough below 2^63 that sums of two sizes cannot overflow.
constexpr std::int64_t kMaxTensorBytes = std::int64_t{1} << 60;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) {
    text += (d == 0 ? "" : ", ") + std::to_string(shape[d]);
  }
  return text + "]";
}

}  // namespace

std::int64_t checked_numel(const std::string& name, DType dtype,
                           const std::vector<std::int64_t>& shape) {
  const auto refuse = [&] {
    throw CheckpointError("tensor '" + name + "': expected a shape of at most 2^60 bytes, found " +
                          shape_text(shape) + " of " + std::string(dtype_name(dtype)));
  };
  if (std::any_of(shape.begin(), shape.end(), [](std::int64_t dim) { return dim < 0; })) refuse();
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::int64_t bytes = dtype_bytes(dtype);
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes) || bytes > kMaxTensorBytes) refuse();
  }
  return bytes / dtype_bytes(dtype);
}

TensorRange whole_tensor(std::string name, DType dtype, std::vector<std::int64_t> shape) {
  const std::int64_t numel = checked_numel(name, dtype, shape);
  return TensorRange{std::move(name), dtype, std::move(shape), 0, numel};
}

std::string describe(const TensorRange& range) {
  return range.name + " " + std::string(dtype_name(range.dtype)) + " " + shape_text(range.shape) +
         " elements [" + std::to_string(range.begin) + ", " + std::to_string(range.end) + ")";
}

}  // namespace muster::checkpoint
