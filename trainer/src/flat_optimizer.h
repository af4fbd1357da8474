// Update rules over this rank's pieces of the flat space: state is flat, per-parameter settings
// are a table of segments.
#ifndef MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_
#define MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "flat_layout.h"
#include "muster/trainer/engine_options.h"

namespace muster::internal {

class FlatOptimizer {
 public:
  /// `decays[i]` says whether weight decay acts on parameter i.
  FlatOptimizer(const OptimizerOptions& options, const FlatLayout& layout, const ShardLayout& shard,
                const std::vector<bool>& decays);

  /// Update number `step`, counting from 1, of this rank's piece of bucket `bucket`, at
  /// `parameters`. `gradient_scale` turns the summed gradient into the clipped mean.
  void update(std::size_t bucket, float* parameters, const float* gradient, double gradient_scale,
              double learning_rate, std::int64_t step);

  /// State by name ("exp_avg", "exp_avg_sq", "momentum"), laid out as the shard is.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }

 private:
  struct Segment {
    FlatRange in_piece;
    bool decays = false;
  };

  OptimizerOptions options_;
  const ShardLayout& shard_;
  std::vector<std::vector<Segment>> segments_;  // [bucket], tile its piece
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_
