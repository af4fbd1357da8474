// Optimizers: options and segments here, the loops in optimizer_kernels.cc.
#include "flat_optimizer.h"

#include <ATen/ops/zeros.h>

#include <algorithm>

#include "optimizer_kernels.h"

namespace muster::internal {

FlatOptimizer::FlatOptimizer(const OptimizerOptions& options, const FlatLayout& layout,
                             const ShardLayout& shard, const std::vector<bool>& decays)
    : options_(options), shard_(shard), segments_(layout.buckets.size()) {
  for (std::size_t b = 0; b < layout.buckets.size(); ++b) {
    const Bucket& bucket = layout.buckets[b];
    const FlatRange piece = shard.pieces[b].flat;
    for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
      // With the padding behind it, so that the segments tile the piece.
      const std::size_t parameter = bucket.parameters[i];
      const bool last = i + 1 == bucket.parameters.size();
      const std::int64_t begin = std::max(layout.parameters[parameter].begin, piece.begin);
      const std::int64_t end = std::min(
          last ? bucket.range.end : layout.parameters[bucket.parameters[i + 1]].begin, piece.end);
      if (begin >= end) continue;
      std::vector<Segment>& segments = segments_[b];
      const FlatRange in_piece{begin - piece.begin, end - piece.begin};
      if (!segments.empty() && segments.back().decays == decays[parameter]) {
        segments.back().in_piece.end = in_piece.end;
      } else {
        segments.push_back({in_piece, decays[parameter]});
      }
    }
  }
  const auto add_state = [&](const char* name) {
    state_.emplace_back(name, at::zeros({shard.numel}, at::TensorOptions(at::kFloat)));
  };
  if (options_.kind == OptimizerKind::kAdamW) {
    add_state("exp_avg");
    add_state("exp_avg_sq");
  } else if (options_.momentum != 0) {
    add_state("momentum");
  }
}

void FlatOptimizer::update(std::size_t bucket, float* parameters, const float* gradient,
                           double gradient_scale, double learning_rate, std::int64_t step) {
  for (const Segment& segment : segments_[bucket]) {
    const std::int64_t at = segment.in_piece.begin;
    const std::int64_t numel = segment.in_piece.numel();
    const auto state_at = [&](std::size_t index) {
      return state_[index].second.mutable_data_ptr<float>() + shard_.pieces[bucket].offset + at;
    };
    const double decay = segment.decays ? options_.weight_decay : 0.0;
    if (options_.kind == OptimizerKind::kAdamW) {
      adamw_update(parameters + at, gradient + at, state_at(0), state_at(1), numel,
                   adamw_factors(learning_rate, options_.beta1, options_.beta2, options_.epsilon,
                                 decay, gradient_scale, step));
      continue;
    }
    SgdFactors factors;
    factors.gradient_scale = static_cast<float>(gradient_scale);
    factors.weight_decay = static_cast<float>(decay);
    factors.momentum = static_cast<float>(options_.momentum);
    factors.learning_rate = static_cast<float>(learning_rate);
    factors.nesterov = options_.nesterov;
    sgd_update(parameters + at, gradient + at, state_.empty() ? nullptr : state_at(0), numel,
               factors);
  }
}

}  // namespace muster::internal
