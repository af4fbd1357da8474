// The tree's additions on flat float32 ranges. Their bits are part of the numerics version
// (base/version.h).
#ifndef MUSTER_TRAINER_SRC_SIBLING_KERNELS_H_
#define MUSTER_TRAINER_SRC_SIBLING_KERNELS_H_

#include <cstdint>
#include <span>

namespace muster::internal {

/// siblings.back() += (... + (siblings[1] + (siblings[0] + leaf))), in one walk through memory; the
/// others stay as they are. At least one sibling; no two arrays of `numel` elements overlap. Any
/// cut of a range into calls gives the same bits.
void add_to_siblings(std::span<float* const> siblings, const float* leaf, std::int64_t numel);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_SIBLING_KERNELS_H_
