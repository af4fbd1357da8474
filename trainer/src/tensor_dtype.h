// LibTorch's dtypes and those of files.
#ifndef MUSTER_TRAINER_SRC_TENSOR_DTYPE_H_
#define MUSTER_TRAINER_SRC_TENSOR_DTYPE_H_

#include <c10/core/ScalarType.h>

#include <string>

#include "muster/base/dtype.h"

namespace muster::internal {

/// Throws ConfigError, naming the tensor, for a dtype that files cannot hold.
DType to_dtype(const std::string& name, c10::ScalarType type);

c10::ScalarType to_scalar_type(DType dtype);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_TENSOR_DTYPE_H_
