// SGD and AdamW over the flat parameters: state is flat, per-parameter settings are a table of
// segments.
#ifndef MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_
#define MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "flat_layout.h"
#include "muster/trainer/engine_options.h"

namespace muster::internal {

class FlatOptimizer {
 public:
  /// `decays[i]` says whether weight decay acts on parameter i.
  FlatOptimizer(const OptimizerOptions& options, const FlatLayout& layout,
                const std::vector<bool>& decays);

  /// Update number `step`, counting from 1. `gradient_scale` turns the summed gradient into the
  /// clipped mean.
  void update(at::Tensor& values, const at::Tensor& gradient, double gradient_scale,
              double learning_rate, std::int64_t step);

  /// Flat state by name ("exp_avg", "exp_avg_sq", "momentum"), laid out as the parameters are.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }

 private:
  struct Segment {
    FlatRange range;
    bool decays = false;
  };

  OptimizerOptions options_;
  std::vector<Segment> segments_;  // tile the flat space
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_
