// One pass for 2 and for 4 buffers; blocks in the first-level cache for other numbers.
#include "bare_loop_kernels.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "muster/base/target_clones.h"

namespace muster::bench {
namespace {

constexpr std::int64_t kBlockNumel = 1024;

}  // namespace

MUSTER_TARGET_CLONES void add_two(float* a, float* b, std::int64_t numel) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < numel; ++i) {
    const float sum = a[i] + b[i];
    a[i] = sum;
    b[i] = sum;
  }
}

MUSTER_TARGET_CLONES void add_four(float* a, float* b, float* c, float* d, std::int64_t numel) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < numel; ++i) {
    const float sum = a[i] + b[i] + c[i] + d[i];
    a[i] = sum;
    b[i] = sum;
    c[i] = sum;
    d[i] = sum;
  }
}

MUSTER_TARGET_CLONES void add_to(float* sum, const float* a, std::int64_t numel) {
  for (std::int64_t i = 0; i < numel; ++i) sum[i] += a[i];
}

namespace {

void add_in_blocks(std::span<float* const> buffers, std::int64_t begin, std::int64_t end) {
  std::array<float, kBlockNumel> sum;
  for (std::int64_t at = begin; at < end; at += kBlockNumel) {
    const std::int64_t numel = std::min(kBlockNumel, end - at);
    const std::size_t bytes = static_cast<std::size_t>(numel) * sizeof(float);
    std::memcpy(sum.data(), buffers[0] + at, bytes);
    for (float* buffer : buffers.subspan(1)) add_to(sum.data(), buffer + at, numel);
    for (float* buffer : buffers) std::memcpy(buffer + at, sum.data(), bytes);
  }
}

}  // namespace

void add_all_into_all(std::span<float* const> buffers, std::int64_t begin, std::int64_t end) {
  const std::int64_t numel = end - begin;
  if (buffers.size() == 2) return add_two(buffers[0] + begin, buffers[1] + begin, numel);
  if (buffers.size() == 4) {
    return add_four(buffers[0] + begin, buffers[1] + begin, buffers[2] + begin, buffers[3] + begin,
                    numel);
  }
  add_in_blocks(buffers, begin, end);
}

}  // namespace muster::bench
