// The CUDA runtime, and a child that counts.
#include "device/gpu.h"

#include <ATen/ops/from_blob.h>
#include <cuda_runtime_api.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "cuda/check_cuda.h"

namespace muster::testing {

using internal::check_cuda;

int gpus() {
  static const int count = [] {
    const pid_t pid = fork();
    if (pid == 0) {
      int devices = 0;
      const bool found = cudaGetDeviceCount(&devices) == cudaSuccess;
      _exit(found ? std::min(devices, 100) : 0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  }();
  return count;
}

at::Tensor gpu_tensor(int device, std::int64_t numel, at::ScalarType dtype) {
  check_cuda(cudaSetDevice(device), "cudaSetDevice");
  const at::Device place(at::kCUDA, static_cast<at::DeviceIndex>(device));
  const auto options = at::TensorOptions().dtype(dtype).device(place);
  void* memory = nullptr;
  const auto bytes = static_cast<std::size_t>(numel) * c10::elementSize(dtype);
  if (bytes > 0) check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
  return at::from_blob(
      memory, {numel}, [](void* used) { cudaFree(used); }, options, place);
}

void copy_tensor(const at::Tensor& to, const at::Tensor& from) {
  if (from.nbytes() == 0) return;
  check_cuda(
      cudaMemcpy(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes(), cudaMemcpyDefault),
      "cudaMemcpy");
}

}  // namespace muster::testing
