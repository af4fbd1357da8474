// The loops that combine elements of several sources. They know neither tensors nor processes.
#ifndef MUSTER_COLLECTIVES_SRC_REDUCE_KERNELS_H_
#define MUSTER_COLLECTIVES_SRC_REDUCE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "muster/base/dtype.h"
#include "muster/collectives/reduction_tree.h"

namespace muster::internal {

enum class Combine : std::uint32_t {
  kSum = 0,
  kMin = 1,
  kMax = 2,
  kProduct = 3,
  kBitAnd = 4,
  kBitOr = 5,
};

/// How `sources` values become one. `additions` (whose "addition" is `combine`) are as
/// ReductionTree::schedule() makes them; none for a single source.
struct ReducePlan {
  Combine combine = Combine::kSum;
  DType dtype = DType::kFloat32;  ///< Any but bool; bits are combined in integers only.
  int sources = 1;
  std::vector<Addition> additions;
  /// What the result is divided by, for floating-point dtypes.
  int divisor = 1;
};

/// destinations[d][i] = combination of sources[s][i], for i in [0, numel) and every d. A
/// destination may be a source or overlap none. The bits do not depend on where [0, numel) is cut
/// nor on the vector unit. Integers wrap around. float16 and bfloat16 are combined (and divided) in
/// float32 and rounded once, to nearest even. A NaN result is always the same quiet NaN.
void reduce(const ReducePlan& plan, std::span<const std::byte* const> sources,
            std::span<std::byte* const> destinations, std::int64_t numel);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_REDUCE_KERNELS_H_
