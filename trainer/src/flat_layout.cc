// Flat ranges.
#include "flat_layout.h"

#include <algorithm>

namespace muster::internal {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

FlatRange FlatLayout::padded(std::size_t parameter) const {
  const bool last = parameter + 1 == parameters.size();
  return {parameters[parameter].begin, last ? numel : parameters[parameter + 1].begin};
}

FlatLayout make_flat_layout(const std::vector<std::int64_t>& numels) {
  FlatLayout layout;
  for (const std::int64_t numel : numels) {
    layout.parameters.push_back({layout.numel, layout.numel + numel});
    layout.numel = round_up(layout.numel + numel, kAlignmentNumel);
  }
  layout.numel = round_up(layout.numel, kBlockNumel);
  return layout;
}

std::vector<FlatRange> make_buckets(std::int64_t numel, std::int64_t bucket_bytes) {
  const std::int64_t bytes_per_block = kBlockNumel * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t blocks = std::max<std::int64_t>(1, bucket_bytes / bytes_per_block);
  std::vector<FlatRange> buckets;
  for (std::int64_t begin = 0; begin < numel; begin += blocks * kBlockNumel) {
    buckets.push_back({begin, std::min(numel, begin + blocks * kBlockNumel)});
  }
  return buckets;
}

FlatRange even_part(std::int64_t numel, int index, int parts) {
  // Quotient and remainder apart: numel * index may overflow.
  const std::int64_t quotient = numel / parts;
  const std::int64_t remainder = numel % parts;
  const auto cut = [&](std::int64_t i) { return quotient * i + std::min(i, remainder); };
  return {cut(index), cut(index + 1)};
}

}  // namespace muster::internal
