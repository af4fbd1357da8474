// The canonical sum on the GPU: additions in the order of a schedule, one thread an element.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_TREE_SUM_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_TREE_SUM_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "muster/base/dtype.h"
#include "muster/collectives/reduction_tree.h"

namespace muster::internal {

/// Subtrees of all ranks together that one launch can add.
inline constexpr int kMaxTreeSources = 64;

/// output[i] = the schedule's sum over sources[s * stride_numel + i] for s in [0, num_sources), i
/// in [0, numel). `output` may be the first source. float32, float64 or int64; without fused
/// multiply-add, so the bits are the CPU's. Enqueues on `stream` and returns. num_sources <=
/// kMaxTreeSources. Throws InternalError when the launch fails.
void tree_sum(const void* sources, int num_sources, std::int64_t stride_numel, std::int64_t numel,
              std::span<const Addition> schedule, DType dtype, void* output, cudaStream_t stream);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_TREE_SUM_H_
