// Checks of engine and optimizer options.
#include "muster/trainer/engine_options.h"

#include <cmath>

namespace muster {
namespace {

void require(std::vector<std::string>& problems, bool good, const std::string& problem) {
  if (!good) problems.push_back(problem);
}

std::string found(double value) { return ", found " + std::to_string(value); }

}  // namespace

std::vector<std::string> OptimizerOptions::validate() const {
  std::vector<std::string> problems;
  require(problems, weight_decay >= 0 && std::isfinite(weight_decay),
          "weight decay: expected 0 or more" + found(weight_decay));
  require(problems, beta1 >= 0 && beta1 < 1, "beta1: expected 0 <= beta1 < 1" + found(beta1));
  require(problems, beta2 >= 0 && beta2 < 1, "beta2: expected 0 <= beta2 < 1" + found(beta2));
  require(problems, epsilon > 0, "epsilon: expected more than 0" + found(epsilon));
  require(problems, momentum >= 0 && momentum < 1,
          "momentum: expected 0 <= momentum < 1" + found(momentum));
  require(problems, dampening >= 0 && dampening < 1,
          "dampening: expected 0 <= dampening < 1" + found(dampening));
  require(problems, !nesterov || kind != OptimizerKind::kSgd || dampening == 0,
          "nesterov: expected a dampening of 0" + found(dampening));
  require(problems, beta2_decay <= 0, "beta2 decay: expected 0 or less" + found(beta2_decay));
  require(problems, epsilon2 > 0, "epsilon2: expected more than 0" + found(epsilon2));
  require(problems, update_threshold > 0,
          "update threshold: expected more than 0" + found(update_threshold));
  require(problems, !nesterov || kind != OptimizerKind::kSgd || momentum > 0,
          "nesterov: expected a momentum above 0, found 0");
  for (const ParameterGroup& group : groups) {
    const std::string name = "parameter group '" + group.pattern + "': ";
    const double factor = group.learning_rate_factor;
    require(problems, factor >= 0 && std::isfinite(factor),
            name + "expected a learning rate factor of 0 or more" + found(factor));
    const double decay = group.weight_decay.value_or(0);
    require(problems, decay >= 0 && std::isfinite(decay),
            name + "expected a weight decay of 0 or more" + found(decay));
  }
  return problems;
}

std::vector<std::string> EngineOptions::validate() const {
  std::vector<std::string> problems = optimizer.validate();
  require(problems, logical_ranks >= 1, "logical ranks: expected 1 or more" + found(logical_ranks));
  require(
      problems, accumulation_steps >= 1,
      "accumulation steps: expected 1 or more" + found(static_cast<double>(accumulation_steps)));
  require(problems, initial_loss_scale >= 1 && initial_loss_scale <= 1099511627776.0,
          "loss scale: expected 1 to 2^40" + found(initial_loss_scale));
  require(problems, loss_scale_growth_interval >= 1,
          "loss scale growth interval: expected 1 step or more" +
              found(static_cast<double>(loss_scale_growth_interval)));
  require(problems, clip_norm >= 0, "clip norm: expected 0 (off) or more" + found(clip_norm));
  require(problems, zero_stage >= 0 && zero_stage <= 3,
          "ZeRO stage: expected 0 to 3" + found(zero_stage));
  require(problems, clip_value >= 0, "clip value: expected 0 (off) or more" + found(clip_value));
  require(problems, clip_value == 0 || clip_norm == 0,
          "clip value: expected 0 beside a clip norm" + found(clip_value));
  require(problems, ema_decay >= 0 && ema_decay < 1,
          "ema decay: expected 0 (off) or more, under 1" + found(ema_decay));
  require(problems, prefetch_units >= 0 && prefetch_units <= 1024,
          "prefetch units: expected 0 to 1024" + found(static_cast<double>(prefetch_units)));
  require(problems, bucket_mib >= 1 && bucket_mib <= 65536,
          "bucket size: expected 1 to 65536 MiB" + found(static_cast<double>(bucket_mib)));
  return problems;
}

}  // namespace muster
