// Which GPU the CUDA runtime's calls of a thread are for.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_DEVICE_SCOPE_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_DEVICE_SCOPE_H_

#include <cuda_runtime_api.h>

#include "cuda/check_cuda.h"

namespace muster::internal {

/// Makes GPU `index` the calling thread's as long as it lives. Instead of c10::cuda::CUDAGuard,
/// whose destructor ends the process where LibTorch's own CUDA library is not loaded. Going back to
/// a GPU that this process has not used makes a context there: a thread had better be on `index`.
class DeviceScope {
 public:
  /// Throws InternalError where there is no such GPU.
  explicit DeviceScope(int index) {
    check_cuda(cudaGetDevice(&previous_), "cudaGetDevice");
    if (previous_ == index) return;
    check_cuda(cudaSetDevice(index), "cudaSetDevice");
    moved_ = true;
  }
  // An error is the next call's to report: a failed GPU fails them all.
  ~DeviceScope() {
    if (moved_ && cudaSetDevice(previous_) != cudaSuccess) cudaGetLastError();
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = 0;
  bool moved_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_DEVICE_SCOPE_H_
