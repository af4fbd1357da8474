// LibTorch's CUDA library, loaded when it is needed, and our own parts for GPUs.
#include <ATen/Context.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "accelerator.h"
#include "cuda/piece_kernels.h"
#include "muster/base/error.h"
#include "muster/collectives/cuda_communicator.h"

namespace muster::internal {
namespace {

class CudaAccelerator : public Accelerator {
 public:
  int devices() const override {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
  }

  void prepare(at::Device device) override {
    // Read when cuBLAS begins; without it products of matrices may differ from run to run.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      throw ConfigError(std::string("--device: expected to load LibTorch's CUDA library, found ") +
                        dlerror() +
                        "; install a LibTorch for this machine's CUDA, or give --device cpu");
    }
    at::Context& context = at::globalContext();
    // LibTorch looks for its CUDA library once, at the first question that it could answer.
    if (!context.hasCUDA()) {
      throw ConfigError(
          "--device: expected LibTorch's CUDA library to be used, found that LibTorch was asked "
          "for CUDA before training began; call torch::manual_seed() and torch::cuda in "
          "build_model() or later, or give --device cpu");
    }
    context.lazyInitDevice(at::kCUDA);
    c10::cuda::set_device(device.index());
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    // An operation without such a form warns, and goes on.
    context.setDeterministicAlgorithms(true, /*warn_only=*/true);
    context.setDeterministicFillUninitializedMemory(false);
  }

  std::string name(at::Device device) const override {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return "unknown";
    int runtime = 0;
    cudaRuntimeGetVersion(&runtime);
    return std::string(properties.name) + ", compute capability " +
           std::to_string(properties.major) + "." + std::to_string(properties.minor) + ", CUDA " +
           std::to_string(runtime / 1000) + "." + std::to_string(runtime % 1000 / 10);
  }

  std::unique_ptr<Communicator> make_communicator(Communicator& host, at::Device device,
                                                  const EngineOptions& options) override {
    CudaOptions cuda;
    cuda.device = device.index();
    cuda.transport = options.gpu_transport;
    cuda.fast = options.reduction == Reduction::kFast;
    return make_cuda_communicator(host, cuda);
  }

  const PieceDevice& pieces(at::Device device) override {
    const std::lock_guard lock(mutex_);
    return pieces_.try_emplace(device.index(), device).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<int, CudaPieces> pieces_;
};

const bool registered = [] {
  static CudaAccelerator cuda;
  register_accelerator(&cuda);
  return true;
}();

}  // namespace
}  // namespace muster::internal

// Programs that link muster::cuda ask for this symbol, so that the linker takes this file along.
extern "C" const int muster_program_has_cuda;
extern "C" const int muster_program_has_cuda = 1;
