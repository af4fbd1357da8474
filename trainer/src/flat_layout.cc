// Flat ranges.
#include "flat_layout.h"

#include <algorithm>

#include "muster/base/check.h"

namespace muster::internal {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

class LayoutBuilder {
 public:
  LayoutBuilder(const std::vector<std::int64_t>& numels, std::int64_t bucket_bytes, int world_size)
      : numels_(numels),
        bucket_numel_(bucket_bytes / static_cast<std::int64_t>(sizeof(float))),
        bucket_multiple_(kBlockNumel * world_size) {
    layout_.parameters.resize(numels.size());
    layout_.bucket_of.resize(numels.size());
  }

  void add_unit(const std::vector<std::size_t>& parameters) {
    Unit unit{{layout_.numel, 0}, layout_.buckets.size(), 0};
    Bucket bucket{{layout_.numel, layout_.numel}, {}};
    for (const std::size_t parameter : parameters) {
      const std::int64_t numel = round_up(numels_[parameter], kBlockNumel);
      if (!bucket.parameters.empty() && bucket.range.numel() + numel > bucket_numel_) {
        close(bucket);
      }
      const std::int64_t begin = bucket.range.end;
      layout_.parameters[parameter] = {begin, begin + numels_[parameter]};
      layout_.bucket_of[parameter] = layout_.buckets.size();
      bucket.parameters.push_back(parameter);
      bucket.range.end += numel;
    }
    if (!bucket.parameters.empty()) close(bucket);
    unit.range.end = layout_.numel;
    unit.end_bucket = layout_.buckets.size();
    layout_.units.push_back(unit);
  }

  FlatLayout take() { return std::move(layout_); }

 private:
  void close(Bucket& bucket) {
    bucket.range.end = bucket.range.begin + round_up(bucket.range.numel(), bucket_multiple_);
    layout_.numel = bucket.range.end;
    layout_.unit_of.push_back(layout_.units.size());
    layout_.buckets.push_back(std::move(bucket));
    bucket = {{layout_.numel, layout_.numel}, {}};
  }

  const std::vector<std::int64_t>& numels_;
  std::int64_t bucket_numel_;
  std::int64_t bucket_multiple_;
  FlatLayout layout_;
};

}  // namespace

FlatLayout make_flat_layout(const std::vector<std::int64_t>& numels,
                            const std::vector<std::vector<std::size_t>>& units,
                            std::int64_t bucket_bytes, int world_size) {
  LayoutBuilder builder(numels, bucket_bytes, world_size);
  for (const std::vector<std::size_t>& unit : units) builder.add_unit(unit);
  return builder.take();
}

ShardLayout make_shard_layout(const FlatLayout& layout, int index, int parts) {
  ShardLayout shard;
  shard.parts = parts;
  for (const Bucket& bucket : layout.buckets) {
    const std::int64_t numel = bucket.range.numel() / parts;
    MUSTER_CHECK_EQ(bucket.range.numel() % (parts * kBlockNumel), 0);
    const std::int64_t begin = bucket.range.begin + index * numel;
    shard.pieces.push_back({{begin, begin + numel}, shard.numel});
    shard.numel += numel;
  }
  return shard;
}

FlatRange even_part(std::int64_t numel, int index, int parts) {
  // Quotient and remainder apart: numel * index may overflow.
  const std::int64_t quotient = numel / parts;
  const std::int64_t remainder = numel % parts;
  const auto cut = [&](std::int64_t i) { return quotient * i + std::min(i, remainder); };
  return {cut(index), cut(index + 1)};
}

}  // namespace muster::internal
