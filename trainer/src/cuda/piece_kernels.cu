// One thread an element; of the sums of squares one a lane.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "cuda/piece_kernels.h"
#include "flat_layout.h"
#include "lanes.h"
#include "optimizer_elements.h"

namespace muster::internal {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 65536;

template <typename Element>
__global__ void element_kernel(std::int64_t numel, const Element element) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < numel;
       i += step) {
    element(i);
  }
}

unsigned blocks_for(std::int64_t threads) {
  return static_cast<unsigned>(std::min(kMostBlocks, (threads + kThreads - 1) / kThreads));
}

/// Calls element(i) on the GPU for i in [0, numel), in any order.
template <typename Element>
void for_each_element(at::Device device, std::int64_t numel, const Element& element) {
  if (numel == 0) return;
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(device.index());
  element_kernel<<<blocks_for(numel), kThreads, 0, stream>>>(numel, element);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

struct AdamWElement {
  float* parameter;
  const float* gradient;
  float* exp_avg;
  float* exp_avg_sq;
  AdamWFactors factors;
  __device__ void operator()(std::int64_t i) const {
    adamw_element(parameter[i], gradient[i], exp_avg[i], exp_avg_sq[i], factors);
  }
};

struct AdamElement {
  float* parameter;
  const float* gradient;
  float* exp_avg;
  float* exp_avg_sq;
  AdamWFactors factors;
  float weight_decay;
  __device__ void operator()(std::int64_t i) const {
    adam_element(parameter[i], gradient[i], exp_avg[i], exp_avg_sq[i], factors, weight_decay);
  }
};

struct SgdPlainElement {
  float* parameter;
  const float* gradient;
  SgdFactors factors;
  __device__ void operator()(std::int64_t i) const {
    sgd_plain_element(parameter[i], gradient[i], factors);
  }
};

struct SgdMomentumElement {
  float* parameter;
  const float* gradient;
  float* momentum_buffer;
  SgdFactors factors;
  __device__ void operator()(std::int64_t i) const {
    sgd_momentum_element(parameter[i], gradient[i], momentum_buffer[i], factors);
  }
};

struct LionElement {
  float* parameter;
  const float* gradient;
  float* momentum;
  LionFactors factors;
  __device__ void operator()(std::int64_t i) const {
    lion_element(parameter[i], gradient[i], momentum[i], factors);
  }
};

struct ClampElement {
  float* values;
  float scale;
  float limit;
  __device__ void operator()(std::int64_t i) const { clamp_element(values[i], scale, limit); }
};

struct AverageElement {
  float* average;
  const float* values;
  float weight;
  __device__ void operator()(std::int64_t i) const {
    average_element(average[i], values[i], weight);
  }
};

struct SwapElement {
  float* a;
  float* b;
  __device__ void operator()(std::int64_t i) const {
    const float value = a[i];
    a[i] = b[i];
    b[i] = value;
  }
};

// kLanes neighbouring threads have a block: each adds its lane's elements in their order, then they
// fold as lanes.h does.
__global__ void square_sums_kernel(const float* values, std::int64_t blocks, double* sums) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t own =
      (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x / kLanes;
  // As many rounds for all threads of a warp, which meet below.
  const std::int64_t rounds = (blocks + step - 1) / step;
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int64_t block = own + round * step;
    double sum = 0;
    if (block < blocks) {
      const float* x = values + block * kBlockNumel;
      for (std::int64_t i = lane; i < kBlockNumel; i += kLanes) square_element(sum, x[i]);
    }
    for (int width = kLanes / 2; width >= 1; width /= 2)
      sum += __shfl_down_sync(0xffffffffu, sum, static_cast<unsigned>(width), kLanes);
    if (lane == 0 && block < blocks) sums[block] = sum;
  }
}
static_assert(kThreads % 32 == 0 && 32 % kLanes == 0);

}  // namespace

void CudaPieces::adamw_update(float* parameter, const float* gradient, float* exp_avg,
                              float* exp_avg_sq, std::int64_t numel,
                              const AdamWFactors& factors) const {
  for_each_element(device_, numel, AdamWElement{parameter, gradient, exp_avg, exp_avg_sq, factors});
}

void CudaPieces::adam_update(float* parameter, const float* gradient, float* exp_avg,
                             float* exp_avg_sq, std::int64_t numel, const AdamWFactors& factors,
                             float weight_decay) const {
  for_each_element(device_, numel,
                   AdamElement{parameter, gradient, exp_avg, exp_avg_sq, factors, weight_decay});
}

void CudaPieces::sgd_update(float* parameter, const float* gradient, float* momentum_buffer,
                            std::int64_t numel, const SgdFactors& factors) const {
  if (factors.momentum == 0) {
    for_each_element(device_, numel, SgdPlainElement{parameter, gradient, factors});
  } else {
    for_each_element(device_, numel,
                     SgdMomentumElement{parameter, gradient, momentum_buffer, factors});
  }
}

void CudaPieces::lion_update(float* parameter, const float* gradient, float* momentum,
                             std::int64_t numel, const LionFactors& factors) const {
  for_each_element(device_, numel, LionElement{parameter, gradient, momentum, factors});
}

void CudaPieces::scale_and_clamp(float* values, std::int64_t numel, float scale,
                                 float limit) const {
  for_each_element(device_, numel, ClampElement{values, scale, limit});
}

void CudaPieces::move_average(float* average, const float* values, std::int64_t numel,
                              float weight) const {
  for_each_element(device_, numel, AverageElement{average, values, weight});
}

void CudaPieces::swap(float* a, float* b, std::int64_t numel) const {
  for_each_element(device_, numel, SwapElement{a, b});
}

void CudaPieces::block_square_sums(const float* values, std::int64_t numel, double* sums) const {
  const std::int64_t blocks = numel / kBlockNumel;
  if (blocks == 0) return;
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(device_.index());
  square_sums_kernel<<<blocks_for(blocks * kLanes), kThreads, 0, stream>>>(values, blocks, sums);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace muster::internal
