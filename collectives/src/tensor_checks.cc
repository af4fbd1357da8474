// The checks and their messages.
#include "tensor_checks.h"

#include <sstream>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

std::string numel_text(const at::Tensor& tensor) {
  return std::to_string(tensor.numel()) + " elements";
}

}  // namespace

void reject(OperationKind kind, const std::string& expected, const std::string& found,
            const std::string& advice) {
  throw ConfigError(std::string(operation_name(kind)) + ": expected " + expected + ", found " +
                    found + "; " + advice);
}

void check_tensor(OperationKind kind, const at::Tensor& tensor, at::DeviceType device_type) {
  if (!tensor.defined()) {
    reject(kind, "a tensor", "an undefined one", "pass a tensor that holds memory");
  }
  if (tensor.device().type() != device_type) {
    reject(kind, "a tensor on " + c10::DeviceTypeName(device_type, true),
           "one on " + tensor.device().str(), "copy it there first");
  }
  if (tensor.layout() != at::kStrided || !tensor.is_contiguous()) {
    std::ostringstream found;
    found << "sizes " << tensor.sizes();
    if (tensor.layout() == at::kStrided) found << " with strides " << tensor.strides();
    reject(kind, "a contiguous tensor", found.str(), "pass tensor.contiguous()");
  }
}

void check_same_dtype(OperationKind kind, const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() == b.scalar_type()) return;
  reject(kind, "tensors of one dtype",
         std::string(c10::toString(a.scalar_type())) + " and " + c10::toString(b.scalar_type()),
         "convert one with tensor.to(dtype)");
}

void check_slice(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole, int rank,
                 int world_size) {
  if (whole.numel() != slice.numel() * world_size) {
    reject(kind,
           "one tensor with " + std::to_string(world_size) + " times the elements of the other",
           numel_text(whole) + " and " + numel_text(slice), "pad the tensors to whole slices");
  }
  const auto* slice_begin = static_cast<const std::byte*>(slice.const_data_ptr());
  const auto* whole_begin = static_cast<const std::byte*>(whole.const_data_ptr());
  const std::size_t slice_bytes = slice.nbytes();
  const bool apart =
      slice_begin + slice_bytes <= whole_begin || whole_begin + whole.nbytes() <= slice_begin;
  if (apart || slice_begin == whole_begin + slice_bytes * static_cast<std::size_t>(rank)) return;
  reject(kind, "the small tensor apart from the large one, or to be this rank's slice of it",
         "an overlap elsewhere", "use whole.narrow(0, rank * n, n), or a tensor of its own");
}

DType check_reducible(OperationKind kind, const at::Tensor& tensor, bool canonical) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DType::kFloat32;
    case at::kDouble:
      return DType::kFloat64;
    case at::kLong:
      return DType::kInt64;
    case at::kBFloat16:
      if (!canonical) return DType::kBFloat16;
      break;
    default:
      break;
  }
  reject(kind, canonical ? "float32, float64 or int64" : "float32, float64, bfloat16 or int64",
         c10::toString(tensor.scalar_type()), "convert it with tensor.to(at::kFloat)");
}

}  // namespace muster::internal
