// Reductions on the GPU, with the bits of reduce_kernels.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_COMBINE_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_COMBINE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "reduce_kernels.h"

namespace muster::internal {

/// What reduce() does, on memory that the current device reaches: destinations[d][i] = combination
/// of sources[s][i], for i in [0, numel) and every d. A destination may be a source or overlap
/// none. The same bits, whatever the cut. At most kMaxDeviceSources of each. Enqueues on `stream`
/// and returns. Throws InternalError when the launch fails.
void combine_on_device(const ReducePlan& plan, std::span<const std::byte* const> sources,
                       std::span<std::byte* const> destinations, std::int64_t numel,
                       cudaStream_t stream);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_COMBINE_H_
