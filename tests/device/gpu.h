// GPUs for tests, without LibTorch's own CUDA library: a test program must load, and say why it
// skips, on machines that lack it.
#ifndef MUSTER_TESTS_DEVICE_GPU_H_
#define MUSTER_TESTS_DEVICE_GPU_H_

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace muster::testing {

/// How many GPUs there are. Asked in a child: a process that has looked cannot fork ranks that use
/// them.
int gpus();

#define MUSTER_NEEDS_GPUS(n)                                                           \
  if (gpus() < (n)) {                                                                  \
    GTEST_SKIP() << "needs " << (n) << " NVIDIA GPUs with a driver, found " << gpus(); \
  }

/// A tensor of ordinary GPU memory, whose contents are undefined.
at::Tensor gpu_tensor(int device, std::int64_t numel, at::ScalarType dtype);

/// Contiguous tensors of one size in bytes, between host and GPU in any direction. Blocks.
void copy_tensor(const at::Tensor& to, const at::Tensor& from);

}  // namespace muster::testing

#endif  // MUSTER_TESTS_DEVICE_GPU_H_
