// Optimizers: options and segments here, the loops in optimizer_kernels.cc.
#include "flat_optimizer.h"

#include <ATen/ops/zeros.h>

#include "optimizer_kernels.h"

namespace muster::internal {

FlatOptimizer::FlatOptimizer(const OptimizerOptions& options, const FlatLayout& layout,
                             const std::vector<bool>& decays)
    : options_(options) {
  for (std::size_t i = 0; i < layout.parameters.size(); ++i) {
    const FlatRange range = layout.padded(i);
    if (!segments_.empty() && segments_.back().decays == decays[i]) {
      segments_.back().range.end = range.end;
    } else {
      segments_.push_back({range, decays[i]});
    }
  }
  const auto add_state = [&](const char* name) {
    state_.emplace_back(name, at::zeros({layout.numel}, at::TensorOptions(at::kFloat)));
  };
  if (options_.kind == OptimizerKind::kAdamW) {
    add_state("exp_avg");
    add_state("exp_avg_sq");
  } else if (options_.momentum != 0) {
    add_state("momentum");
  }
}

void FlatOptimizer::update(at::Tensor& values, const at::Tensor& gradient, double gradient_scale,
                           double learning_rate, std::int64_t step) {
  auto* parameters = values.mutable_data_ptr<float>();
  const auto* gradients = gradient.const_data_ptr<float>();
  const auto state_at = [&](std::size_t index, std::int64_t offset) {
    return state_[index].second.mutable_data_ptr<float>() + offset;
  };
  for (const Segment& segment : segments_) {
    const std::int64_t at = segment.range.begin;
    const std::int64_t numel = segment.range.numel();
    const double decay = segment.decays ? options_.weight_decay : 0.0;
    if (options_.kind == OptimizerKind::kAdamW) {
      adamw_update(parameters + at, gradients + at, state_at(0, at), state_at(1, at), numel,
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
    sgd_update(parameters + at, gradients + at, state_.empty() ? nullptr : state_at(0, at), numel,
               factors);
  }
}

}  // namespace muster::internal
