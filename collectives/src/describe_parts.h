// From a tensor to the parts and the signature of an operation.
#ifndef MUSTER_COLLECTIVES_SRC_DESCRIBE_PARTS_H_
#define MUSTER_COLLECTIVES_SRC_DESCRIBE_PARTS_H_

#include <ATen/core/Tensor.h>

#include <cstring>

#include "operation.h"

namespace muster::internal {

inline std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

inline Part part_of(const at::Tensor& tensor) { return {bytes_of(tensor), tensor.numel()}; }

/// `kind` on tensors like `tensor`; the caller adds what else the ranks must agree on.
inline Signature signature_of(OperationKind kind, const at::Tensor& tensor) {
  Signature signature;
  signature.kind = kind;
  signature.scalar_type = static_cast<std::uint32_t>(tensor.scalar_type());
  signature.element_bytes = static_cast<std::uint32_t>(tensor.element_size());
  signature.numel = tensor.numel();
  std::strncpy(signature.dtype_name, c10::toString(tensor.scalar_type()),
               sizeof(signature.dtype_name) - 1);
  return signature;
}

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DESCRIBE_PARTS_H_
