// The exponential moving average of the weights, for this rank's pieces of the flat space.
#ifndef MUSTER_TRAINER_SRC_WEIGHT_AVERAGE_H_
#define MUSTER_TRAINER_SRC_WEIGHT_AVERAGE_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>

#include "flat_layout.h"
#include "piece_device.h"

namespace muster::internal {

/// The weight of the newest parameters after update `step` (counts from 1): 1 in the first, as
/// torch.optim.swa_utils.AveragedModel has it, then 1 - decay; with `warmup` the decay is at most
/// (1 + step) / (10 + step).
double newest_weight(double decay, bool warmup, std::int64_t step);

class WeightAverage {
 public:
  /// On `device`, as the pieces are. `shard` and `device` must outlive this.
  WeightAverage(const ShardLayout& shard, const PieceDevice& device, double decay, bool warmup);

  /// After update `step` of `range`, of this rank's piece of bucket `bucket`, at `parameters`.
  void add(std::size_t bucket, FlatRange range, const float* parameters, std::int64_t step);
  /// Exchanges the piece's parameters and their average.
  void swap(std::size_t bucket, float* parameters);

  /// Laid out as the shard is; zeros before the first step.
  const at::Tensor& values() const { return values_; }

 private:
  float* piece(std::size_t bucket);

  const ShardLayout& shard_;
  const PieceDevice& device_;
  double decay_;
  bool warmup_;
  at::Tensor values_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_WEIGHT_AVERAGE_H_
