// Making, repeating and comparing patterns, a period at a time.
#include "exact_pattern.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include <algorithm>
#include <cstring>

#include "muster/base/check.h"

namespace muster::bench {
namespace {

// One period in the dtype of a tensor. Through int64, since whole numbers wrap around in narrow
// integers where a conversion from float64 is undefined.
at::Tensor as_type(const at::Tensor& pattern, at::ScalarType dtype) {
  if (at::isFloatingType(dtype)) return pattern.to(dtype);
  return pattern.to(at::kLong).to(dtype);
}

struct Bytes {
  std::byte* data;
  std::int64_t count;
};

Bytes bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()),
          tensor.numel() * static_cast<std::int64_t>(tensor.element_size())};
}

std::int64_t count_different(const std::byte* a, const std::byte* b, std::int64_t bytes,
                             std::int64_t element_bytes) {
  if (std::memcmp(a, b, static_cast<std::size_t>(bytes)) == 0) return 0;
  std::int64_t different = 0;
  for (std::int64_t at = 0; at < bytes; at += element_bytes) {
    if (std::memcmp(a + at, b + at, static_cast<std::size_t>(element_bytes)) != 0) ++different;
  }
  return different;
}

}  // namespace

at::Tensor rank_pattern(int rank) {
  at::Tensor pattern = at::empty({kPatternPeriod}, at::kDouble);
  auto* const values = static_cast<double*>(pattern.data_ptr());
  for (std::int64_t i = 0; i < kPatternPeriod; ++i) {
    // Any mixing does that makes neighbours and ranks differ.
    const auto mixed = static_cast<std::uint64_t>(i * 64 + rank + 1) * 0x9e3779b97f4a7c15u;
    values[i] = static_cast<double>(1 + (mixed >> 62));
  }
  return pattern;
}

const std::vector<std::string>& reduction_names() {
  static const std::vector<std::string> names = {"sum", "avg", "min", "max", "product"};
  return names;
}

at::Tensor combined_pattern(const std::string& reduction, int world_size) {
  at::Tensor combined = rank_pattern(0);
  for (int r = 1; r < world_size; ++r) {
    const at::Tensor pattern = rank_pattern(r);
    if (reduction == "min") {
      combined = at::minimum(combined, pattern);
    } else if (reduction == "max") {
      combined = at::maximum(combined, pattern);
    } else if (reduction == "product") {
      combined = combined.mul(pattern);
    } else {
      combined = combined.add(pattern);
    }
  }
  return reduction == "avg" ? combined.div(world_size) : combined;
}

void fill_with_pattern(const at::Tensor& tensor, const at::Tensor& pattern) {
  const at::Tensor typed = as_type(pattern, tensor.scalar_type());
  const Bytes from = bytes_of(typed);
  const Bytes to = bytes_of(tensor);
  for (std::int64_t at = 0; at < to.count; at += from.count) {
    std::memcpy(to.data + at, from.data,
                static_cast<std::size_t>(std::min(from.count, to.count - at)));
  }
}

std::int64_t count_wrong(const at::Tensor& tensor, const std::vector<ExpectedRange>& expected) {
  if (expected.empty()) return 0;
  const Bytes found = bytes_of(tensor);
  const auto element_bytes = static_cast<std::int64_t>(tensor.element_size());
  std::int64_t wrong = 0;
  for (const ExpectedRange& range : expected) {
    MUSTER_CHECK_LE(range.begin + range.numel, tensor.numel());
    const at::Tensor typed = as_type(range.pattern, tensor.scalar_type());
    const Bytes period = bytes_of(typed);
    std::int64_t phase = range.phase % kPatternPeriod * element_bytes;
    std::int64_t at = range.begin * element_bytes;
    const std::int64_t end = at + range.numel * element_bytes;
    while (at < end) {
      const std::int64_t bytes = std::min(period.count - phase, end - at);
      wrong += count_different(found.data + at, period.data + phase, bytes, element_bytes);
      at += bytes;
      phase = 0;
    }
  }
  return wrong;
}

}  // namespace muster::bench
