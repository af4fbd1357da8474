// What a step computes: logical ranks, accumulation, optimizer, clipping.
#ifndef MUSTER_TRAINER_ENGINE_OPTIONS_H_
#define MUSTER_TRAINER_ENGINE_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "muster/trainer/precision.h"

namespace at {
class Tensor;
}

namespace muster {

enum class OptimizerKind {
  kSgd,    ///< With momentum and, if asked for, Nesterov's form; as torch::optim::SGD.
  kAdamW,  ///< Decoupled weight decay (Loshchilov and Hutter 2019); as torch::optim::AdamW.
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double weight_decay = 0.0;
  double beta1 = 0.9;     ///< AdamW.
  double beta2 = 0.999;   ///< AdamW.
  double epsilon = 1e-8;  ///< AdamW.
  double momentum = 0.9;  ///< SGD.
  bool nesterov = false;  ///< SGD.

  /// All problems at once; empty when there is none.
  std::vector<std::string> validate() const;
};

struct EngineOptions {
  int logical_ranks = 4;
  std::int64_t accumulation_steps = 1;
  std::uint64_t seed = 0;
  OptimizerOptions optimizer;
  Precision precision = Precision::kFloat32;
  double initial_loss_scale = 65536;               ///< Of kFloat16Mixed.
  std::int64_t loss_scale_growth_interval = 2000;  ///< Good steps before the scale is doubled.
  double clip_norm = 0.0;  ///< Largest global gradient norm; 0 turns clipping off.
  /// What ranks share instead of holding it whole: 0 nothing, 1 optimizer state, 2 gradients too, 3
  /// parameters too (Rajbhandari et al. 2020). Never changes bits.
  int zero_stage = 1;
  std::int64_t bucket_mib = 16;  ///< Gradients reduced in one collective. Never changes bits.
  /// Whether weight decay acts on this parameter. By default on matrices and filters, not on biases
  /// and norms (dim >= 2).
  std::function<bool(const std::string& name, const at::Tensor& parameter)> decays;

  std::vector<std::string> validate() const;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_ENGINE_OPTIONS_H_
