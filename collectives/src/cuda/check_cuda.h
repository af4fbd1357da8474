// Errors of the CUDA runtime.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_CHECK_CUDA_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_CHECK_CUDA_H_

#include <cuda_runtime_api.h>

#include <string>

#include "muster/base/error.h"

namespace muster::internal {

/// Throws InternalError naming the call when `error` is one.
inline void check_cuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next call's error is its own
  throw InternalError(std::string("CUDA: expected ") + call + " to succeed, found " +
                      cudaGetErrorName(error) + " (" + cudaGetErrorString(error) +
                      "); look at the GPU with nvidia-smi and muster doctor");
}

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_CHECK_CUDA_H_
