// The kernel behind tree_sum.
#include <algorithm>
#include <string>

#include "cuda/tree_sum.h"
#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 65536;

// Travels as a kernel argument (1.5 KiB of the 4 KiB allowed), so nothing has to be copied ahead of
// the launch.
struct Schedule {
  int count = 0;
  struct {
    std::int16_t left, right, into;
  } additions[kMaxTreeSources];
};

template <typename T>
__global__ void tree_sum_kernel(const T* sources, int num_sources, std::int64_t stride,
                                std::int64_t numel, Schedule schedule, T* output) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < numel;
       i += step) {
    T values[2 * kMaxTreeSources];
    for (int s = 0; s < num_sources; ++s) values[s] = sources[s * stride + i];
    int last = 0;
    for (int a = 0; a < schedule.count; ++a) {
      const auto addition = schedule.additions[a];
      values[addition.into] = values[addition.left] + values[addition.right];
      last = addition.into;
    }
    output[i] = values[last];
  }
}

template <typename T>
void launch(const void* sources, int num_sources, std::int64_t stride, std::int64_t numel,
            const Schedule& schedule, void* output, cudaStream_t stream) {
  const std::int64_t blocks = std::min(kMaxBlocks, (numel + kThreads - 1) / kThreads);
  tree_sum_kernel<T><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(
      static_cast<const T*>(sources), num_sources, stride, numel, schedule,
      static_cast<T*>(output));
}

}  // namespace

void tree_sum(const void* sources, int num_sources, std::int64_t stride_numel, std::int64_t numel,
              std::span<const Addition> schedule, DType dtype, void* output, cudaStream_t stream) {
  MUSTER_CHECK(num_sources >= 1 && num_sources <= kMaxTreeSources) << num_sources;
  MUSTER_CHECK_EQ(schedule.size() + 1, static_cast<std::size_t>(num_sources));
  if (numel == 0) return;
  Schedule packed;
  for (const Addition& addition : schedule) {
    packed.additions[packed.count++] = {static_cast<std::int16_t>(addition.left),
                                        static_cast<std::int16_t>(addition.right),
                                        static_cast<std::int16_t>(addition.into)};
  }
  switch (dtype) {
    case DType::kFloat32:
      launch<float>(sources, num_sources, stride_numel, numel, packed, output, stream);
      break;
    case DType::kFloat64:
      launch<double>(sources, num_sources, stride_numel, numel, packed, output, stream);
      break;
    case DType::kInt64:
      launch<std::int64_t>(sources, num_sources, stride_numel, numel, packed, output, stream);
      break;
    default:
      throw InternalError("tree_sum: expected float32, float64 or int64, found " +
                          std::string(dtype_name(dtype)));
  }
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw InternalError(std::string("tree_sum: the launch failed: ") + cudaGetErrorString(error));
  }
}

}  // namespace muster::internal
