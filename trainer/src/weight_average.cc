// Averaging and exchanging.
#include "weight_average.h"

#include <ATen/ops/zeros.h>

#include <algorithm>

namespace muster::internal {

double newest_weight(double decay, bool warmup, std::int64_t step) {
  if (step <= 1) return 1.0;
  const auto t = static_cast<double>(step);
  return 1.0 - (warmup ? std::min(decay, (1.0 + t) / (10.0 + t)) : decay);
}

WeightAverage::WeightAverage(const ShardLayout& shard, const PieceDevice& device, double decay,
                             bool warmup)
    : shard_(shard),
      device_(device),
      decay_(decay),
      warmup_(warmup),
      values_(at::zeros({shard.numel}, device.options())) {}

float* WeightAverage::piece(std::size_t bucket) {
  return values_.mutable_data_ptr<float>() + shard_.pieces[bucket].offset;
}

void WeightAverage::add(std::size_t bucket, FlatRange range, const float* parameters,
                        std::int64_t step) {
  const std::int64_t skip = range.begin - shard_.pieces[bucket].flat.begin;
  device_.move_average(piece(bucket) + skip, parameters, range.numel(),
                       static_cast<float>(newest_weight(decay_, warmup_, step)));
}

void WeightAverage::swap(std::size_t bucket, float* parameters) {
  device_.swap(piece(bucket), parameters, shard_.pieces[bucket].flat.numel());
}

}  // namespace muster::internal
