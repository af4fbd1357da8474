// What every operation demands of its tensors. All of these throw ConfigError naming the operation
// and what was found.
#ifndef MUSTER_COLLECTIVES_SRC_TENSOR_CHECKS_H_
#define MUSTER_COLLECTIVES_SRC_TENSOR_CHECKS_H_

#include <ATen/core/Tensor.h>

#include <string>

#include "operation.h"

namespace muster::internal {

/// Throws ConfigError "<operation>: expected <expected>, found <found>; <advice>".
[[noreturn]] void reject(OperationKind kind, const std::string& expected, const std::string& found,
                         const std::string& advice);

/// Defined, contiguous, of `device_type`.
void check_tensor(OperationKind kind, const at::Tensor& tensor, at::DeviceType device_type);
/// `a` and `b` have one dtype.
void check_same_dtype(OperationKind kind, const at::Tensor& a, const at::Tensor& b);
/// `whole` has `world_size` times the elements of `slice`, which either is slice `rank` of it or
/// lies apart from it.
void check_slice(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole, int rank,
                 int world_size);
/// `canonical`: without bfloat16, in which a partial sum would be rounded.
DType check_reducible(OperationKind kind, const at::Tensor& tensor, bool canonical);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_TENSOR_CHECKS_H_
