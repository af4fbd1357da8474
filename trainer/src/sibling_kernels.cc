// Compiled with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math: the same bits for any cut
// and instruction set.
#include "sibling_kernels.h"

#include <algorithm>
#include <cstddef>

#include "muster/base/target_clones.h"

namespace muster::internal {
namespace {

// A running sum of so many elements stays in the first-level cache.
constexpr std::int64_t kBlock = 1024;

}  // namespace

MUSTER_TARGET_CLONES
void add_to_siblings(std::span<float* const> siblings, const float* leaf, std::int64_t numel) {
  alignas(64) float sum[kBlock];
  for (std::int64_t begin = 0; begin < numel; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, numel - begin);
    const float* right = leaf + begin;
    for (std::size_t s = 0; s + 1 < siblings.size(); ++s) {
      const float* const left = siblings[s] + begin;
      for (std::int64_t i = 0; i < count; ++i) sum[i] = left[i] + right[i];
      right = sum;
    }
    float* const last = siblings.back() + begin;
    for (std::int64_t i = 0; i < count; ++i) last[i] = last[i] + right[i];
  }
}

}  // namespace muster::internal
