// Block sums, gathered and put in order.
#include "gradient_norm.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "optimizer_kernels.h"

namespace muster::internal {

GradientNorm::GradientNorm(const FlatLayout& layout, const ShardLayout& shard,
                           const PieceDevice& device)
    : shard_(shard), device_(device) {
  const std::int64_t own_blocks = shard.numel / kBlockNumel;
  for (std::size_t p = 0; p < layout.parameters.size(); ++p) {
    const FlatRange range = layout.parameters[p];
    const std::size_t b = layout.bucket_of[p];
    const FlatRange bucket = layout.buckets[b].range;
    const std::int64_t piece_blocks = bucket.numel() / kBlockNumel / shard.parts;
    const std::int64_t piece_begin = shard.pieces[b].offset / kBlockNumel;
    for (std::int64_t at = range.begin; at < range.end; at += kBlockNumel) {
      const std::int64_t in_bucket = (at - bucket.begin) / kBlockNumel;
      const std::int64_t owner = in_bucket / piece_blocks;
      places_.push_back(owner * own_blocks + piece_begin + in_bucket % piece_blocks);
    }
  }
  on_device_ = at::empty({own_blocks}, device.options().dtype(at::kDouble));
  own_ = on_device_.to(at::kCPU);
  all_ = shard.parts == 1 ? own_ : at::empty({own_blocks * shard.parts}, own_.options());
  in_order_.resize(places_.size());
}

void GradientNorm::add_piece(std::size_t bucket, const float* gradient) {
  const Piece& piece = shard_.pieces[bucket];
  device_.block_square_sums(gradient, piece.flat.numel(),
                            on_device_.mutable_data_ptr<double>() + piece.offset / kBlockNumel);
}

double GradientNorm::reduce(Communicator& communicator) {
  if (!own_.is_same(on_device_)) own_.copy_(on_device_);
  if (shard_.parts > 1) communicator.all_gather(all_, own_).wait();
  const auto* sums = all_.const_data_ptr<double>();
  for (std::size_t i = 0; i < places_.size(); ++i) in_order_[i] = sums[places_[i]];
  return std::sqrt(tree_sum(in_order_.data(), static_cast<std::int64_t>(in_order_.size())));
}

std::size_t first_not_finite(const FlatLayout& layout, const ShardLayout& shard,
                             const std::function<const float*(std::size_t bucket)>& gradient) {
  for (std::size_t i = 0; i < layout.parameters.size(); ++i) {
    const std::size_t bucket = layout.bucket_of[i];
    const FlatRange piece = shard.pieces[bucket].flat;
    const FlatRange parameter = layout.parameters[i];
    const std::int64_t begin = std::clamp(parameter.begin, piece.begin, piece.end);
    const std::int64_t end = std::clamp(parameter.end, begin, piece.end);
    const float* values = gradient(bucket) - piece.begin;
    if (!std::all_of(values + begin, values + end, [](float x) { return std::isfinite(x); }))
      return i;
  }
  return layout.parameters.size();
}

}  // namespace muster::internal
