// What every operation demands of its tensors. All of these throw ConfigError naming the operation
// and what was found.
#ifndef MUSTER_COLLECTIVES_SRC_TENSOR_CHECKS_H_
#define MUSTER_COLLECTIVES_SRC_TENSOR_CHECKS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "muster/collectives/communicator.h"
#include "operation.h"

namespace muster::internal {

/// Throws ConfigError "<operation>: expected <expected>, found <found>; <advice>".
[[noreturn]] void reject(OperationKind kind, const std::string& expected, const std::string& found,
                         const std::string& advice);

/// Why a tensor's memory does not hold its values, and what to do.
struct LazyValues {
  const char* found;
  const char* advice;
};
/// Nothing where it does.
std::optional<LazyValues> lazy_values(const at::Tensor& tensor);

/// Defined, contiguous, of `device_type`, its values in its memory.
void check_tensor(OperationKind kind, const at::Tensor& tensor, at::DeviceType device_type);
/// `a` and `b` have one dtype.
void check_same_dtype(OperationKind kind, const at::Tensor& a, const at::Tensor& b);
void check_same_numel(OperationKind kind, const at::Tensor& a, const at::Tensor& b);
/// The two do not overlap.
void check_apart(OperationKind kind, const at::Tensor& a, const at::Tensor& b);
/// `slice` lies apart from `whole`, or is its elements from `begin` on.
void check_within_or_apart(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole,
                           std::int64_t begin);
/// `whole` has `world_size` times the elements of `slice`, which either is slice `rank` of it or
/// lies apart from it.
void check_slice(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole, int rank,
                 int world_size);
/// `output` is like `input` and apart from it, or the same.
void check_output_like(OperationKind kind, const at::Tensor& output, const at::Tensor& input,
                       at::DeviceType device_type);
/// One count for each rank, none negative, that add up to the elements of `whole`, the caller's
/// `name`.
void check_counts(OperationKind kind, const char* name, const at::Tensor& whole,
                  const std::vector<std::int64_t>& counts, int world_size);
/// `what` asks for memory; returns its bytes. Throws unless they can be counted.
std::int64_t check_size(const char* what, std::int64_t numel, at::ScalarType dtype);
void check_root(OperationKind kind, int root, int world_size);
/// A dtype that `op` can combine.
DType check_reducible(OperationKind kind, const at::Tensor& tensor, ReduceOp op);
/// A dtype in which partial sums are exact enough to be the same at every world size.
DType check_canonical(OperationKind kind, const at::Tensor& tensor);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_TENSOR_CHECKS_H_
