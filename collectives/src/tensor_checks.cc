// The checks and their messages.
#include "tensor_checks.h"

#include <limits>
#include <sstream>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

const std::byte* begin_of(const at::Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}

bool are_apart(const at::Tensor& a, const at::Tensor& b) {
  return begin_of(a) + a.nbytes() <= begin_of(b) || begin_of(b) + b.nbytes() <= begin_of(a);
}

std::optional<DType> dtype_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DType::kFloat32;
    case at::kDouble:
      return DType::kFloat64;
    case at::kHalf:
      return DType::kFloat16;
    case at::kBFloat16:
      return DType::kBFloat16;
    case at::kChar:
      return DType::kInt8;
    case at::kShort:
      return DType::kInt16;
    case at::kInt:
      return DType::kInt32;
    case at::kLong:
      return DType::kInt64;
    case at::kByte:
      return DType::kUInt8;
    case at::kBool:
      return DType::kBool;
    default:
      return std::nullopt;
  }
}

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
  if (const std::optional<LazyValues> lazy = lazy_values(tensor)) {
    reject(kind, "a tensor whose values are in its memory", lazy->found, lazy->advice);
  }
}

std::optional<LazyValues> lazy_values(const at::Tensor& tensor) {
  if (tensor.is_conj()) return LazyValues{"a conjugated view", "pass tensor.resolve_conj()"};
  if (tensor.is_neg()) return LazyValues{"a negated view", "pass tensor.resolve_neg()"};
  if (tensor._is_zerotensor()) return LazyValues{"zeros without memory", "pass tensor.clone()"};
  if (tensor.numel() > 0 && tensor.const_data_ptr() == nullptr) {
    return LazyValues{"one without memory", "get its values back first, or pass a copy"};
  }
  return std::nullopt;
}

void check_same_dtype(OperationKind kind, const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() == b.scalar_type()) return;
  reject(kind, "tensors of one dtype",
         std::string(c10::toString(a.scalar_type())) + " and " + c10::toString(b.scalar_type()),
         "convert one with tensor.to(dtype)");
}

void check_same_numel(OperationKind kind, const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == b.numel()) return;
  reject(kind, "tensors with one number of elements", numel_text(a) + " and " + numel_text(b),
         "make them equal");
}

void check_apart(OperationKind kind, const at::Tensor& a, const at::Tensor& b) {
  if (are_apart(a, b)) return;
  reject(kind, "tensors that do not overlap", "an overlap", "use a tensor of its own");
}

void check_within_or_apart(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole,
                           std::int64_t begin) {
  if (are_apart(slice, whole)) return;
  if (begin_of(slice) == begin_of(whole) + begin * whole.element_size()) return;
  reject(kind, "the small tensor apart from the large one, or to be this rank's slice of it",
         "an overlap elsewhere", "use whole.narrow(0, begin, n), or a tensor of its own");
}

void check_slice(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole, int rank,
                 int world_size) {
  if (whole.numel() != slice.numel() * world_size) {
    reject(kind,
           "one tensor with " + std::to_string(world_size) + " times the elements of the other",
           numel_text(whole) + " and " + numel_text(slice), "pad the tensors to whole slices");
  }
  check_within_or_apart(kind, slice, whole, rank * slice.numel());
}

void check_output_like(OperationKind kind, const at::Tensor& output, const at::Tensor& input,
                       at::DeviceType device_type) {
  check_tensor(kind, output, device_type);
  check_same_dtype(kind, output, input);
  check_same_numel(kind, output, input);
  if (begin_of(output) != begin_of(input)) check_apart(kind, output, input);
}

void check_counts(OperationKind kind, const char* name, const at::Tensor& whole,
                  const std::vector<std::int64_t>& counts, int world_size) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  std::int64_t sum = 0;
  bool negative = false;
  for (const std::int64_t count : counts) {
    negative = negative || count < 0;
    if (__builtin_add_overflow(sum, count, &sum)) sum = kMost;  // which no tensor has
  }
  if (counts.size() == static_cast<std::size_t>(world_size) && !negative && sum == whole.numel()) {
    return;
  }
  reject(kind,
         std::to_string(world_size) + " counts, none negative, that add up to the " + name + "'s " +
             numel_text(whole),
         std::to_string(counts.size()) + " counts" + (negative ? ", a negative one," : "") +
             " of together " + std::to_string(sum),
         "correct the counts");
}

std::int64_t check_size(const char* what, std::int64_t numel, at::ScalarType dtype) {
  const auto element_bytes = static_cast<std::int64_t>(c10::elementSize(dtype));
  const std::int64_t most = std::numeric_limits<std::int64_t>::max() / element_bytes;
  if (numel >= 0 && numel <= most) return numel * element_bytes;
  throw ConfigError(
      std::string(what) + ": expected a number of elements of at least 0, and at most " +
      std::to_string(most) + ", found " + std::to_string(numel) + "; correct the size");
}

void check_root(OperationKind kind, int root, int world_size) {
  if (root >= 0 && root < world_size) return;
  reject(kind, "a root in [0, " + std::to_string(world_size) + ")", std::to_string(root),
         "name a rank of this communicator");
}

DType check_reducible(OperationKind kind, const at::Tensor& tensor, ReduceOp op) {
  const std::optional<DType> dtype = dtype_of(tensor.scalar_type());
  if (!dtype) {
    reject(kind,
           "float32, float64, float16, bfloat16, int8, int16, int32, int64, uint8 or bool, which "
           "can be combined",
           c10::toString(tensor.scalar_type()), "convert it, e.g. with tensor.to(at::kFloat)");
  }
  const bool is_float = at::isFloatingType(tensor.scalar_type());
  if (op == ReduceOp::kAvg && !is_float) {
    reject(kind, "a floating-point dtype to be averaged", c10::toString(tensor.scalar_type()),
           "convert it with tensor.to(at::kFloat)");
  }
  if ((op == ReduceOp::kBitAnd || op == ReduceOp::kBitOr) && is_float) {
    reject(kind, "an integer dtype or bool, whose bits can be combined",
           c10::toString(tensor.scalar_type()), "choose another ReduceOp");
  }
  return *dtype;
}

DType check_canonical(OperationKind kind, const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DType::kFloat32;
    case at::kDouble:
      return DType::kFloat64;
    case at::kLong:
      return DType::kInt64;
    default:
      reject(kind, "float32, float64 or int64", c10::toString(tensor.scalar_type()),
             "sum in float32: convert it with tensor.to(at::kFloat)");
  }
}

}  // namespace muster::internal
