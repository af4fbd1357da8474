// What a step computes: logical ranks, accumulation, optimizer, clipping.
#ifndef MUSTER_TRAINER_ENGINE_OPTIONS_H_
#define MUSTER_TRAINER_ENGINE_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "muster/trainer/parameter_groups.h"
#include "muster/trainer/precision.h"

namespace at {
class Tensor;
}

namespace muster {

enum class OptimizerKind {
  kSgd,        ///< With momentum and, if asked for, Nesterov's form; as torch::optim::SGD.
  kAdamW,      ///< Decoupled weight decay (Loshchilov and Hutter 2019); as torch::optim::AdamW.
  kAdam,       ///< Weight decay added to the gradient (Kingma and Ba 2015); as torch::optim::Adam.
  kLion,       ///< The sign of the momentum (Chen et al. 2023).
  kLamb,       ///< Adam's direction, scaled by each parameter's norm (You et al. 2020).
  kAdafactor,  ///< Second moments by rows and columns, no first (Shazeer and Stern 2018); as
               ///< torch.optim.Adafactor. The learning rate is relative to a parameter's size.
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double weight_decay = 0.0;      ///< Decoupled, but for kSgd and kAdam.
  double beta1 = 0.9;             ///< Adam, AdamW, Lion, LAMB.
  double beta2 = 0.999;           ///< The same.
  double epsilon = 1e-8;          ///< Adam, AdamW, LAMB.
  double momentum = 0.9;          ///< SGD.
  double dampening = 0.0;         ///< SGD, from the second step on.
  bool nesterov = false;          ///< SGD.
  double beta2_decay = -0.8;      ///< Adafactor: new squares weigh step^beta2_decay.
  double epsilon2 = 1e-3;         ///< Adafactor: the least size of a parameter.
  double update_threshold = 1.0;  ///< Adafactor: largest root mean square of an update.
  std::vector<ParameterGroup> groups = {};

  /// All problems at once; empty when there is none.
  std::vector<std::string> validate() const;
};

/// In which order gradients are summed over the logical ranks.
enum class Reduction {
  /// By the tree over the logical ranks: the bits depend on their number alone.
  kExact,
  /// A rank adds all of its own in one buffer, and the transport adds the ranks' as it likes best:
  /// less memory where a rank has several micro-batches, and bits that depend on the world size.
  kFast,
};

struct EngineOptions {
  int logical_ranks = 4;
  std::int64_t accumulation_steps = 1;
  std::uint64_t seed = 0;
  OptimizerOptions optimizer;
  Precision precision = Precision::kFloat32;
  Reduction reduction = Reduction::kExact;
  double initial_loss_scale = 65536;               ///< Of kFloat16Mixed.
  std::int64_t loss_scale_growth_interval = 2000;  ///< Good steps before the scale is doubled.
  double clip_norm = 0.0;   ///< Largest global gradient norm; 0 turns clipping off.
  double clip_value = 0.0;  ///< Largest element of the mean gradient; 0: off. Not with clip_norm.
  double ema_decay = 0.0;   ///< Of an average of weights kept beside the parameters; 0: none.
  bool ema_warmup = false;  ///< The average's decay is at most (1 + step) / (10 + step).
  /// What ranks share instead of holding it whole: 0 nothing, 1 optimizer state, 2 gradients too, 3
  /// parameters too (Rajbhandari et al. 2020). On GPUs the parameters that stage 3 shares are
  /// fetched by way of host memory. Never changes bits.
  int zero_stage = 1;
  /// Float32 weights and the optimizer's state are in host memory, where the update is made, and
  /// not on the GPU that the module is on (Ren et al. 2021, ZeRO-Offload). There AdamW's float32
  /// takes 8 bytes a parameter in the place of 16, and a step waits for copies and for the CPU. On
  /// the CPU it takes only more memory. Never changes bits.
  bool offload_optimizer = false;
  /// What carries tensors between GPUs: "auto", "nccl", "cuda_ipc" or "host", as CudaOptions in
  /// cuda_communicator.h has it. Never changes bits, but with kFast.
  std::string gpu_transport = "auto";
  /// Stage 3 between nodes: each node has all parameters, of which its ranks share one copy,
  /// instead of each rank a part of all. Gradients and optimizer state stay sharded over all ranks.
  /// More memory, and nothing to fetch in a step. Not on GPUs. Never changes bits.
  bool replicate_between_nodes = false;
  /// Units, the modules whose parameters are fetched together where ranks at stage 3 do not share
  /// memory, or train on GPUs: by name, in which * stands for any text and ? for one character
  /// ("encoder.layer.*"). A pattern means the outermost module that it matches; a module inside it
  /// that another pattern means is a unit of its own. What no pattern means is one more unit.
  /// Empty: each numbered block ("blocks.3"). Never changes bits.
  std::vector<std::string> units = {};
  /// Units that are fetched before they are needed. Never changes bits.
  std::int64_t prefetch_units = 1;
  std::int64_t bucket_mib = 16;  ///< Gradients reduced in one collective. Never changes bits.
  /// Whether weight decay acts on this parameter. By default on matrices and filters, not on biases
  /// and norms (dim >= 2).
  std::function<bool(const std::string& name, const at::Tensor& parameter)> decays;

  std::vector<std::string> validate() const;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_ENGINE_OPTIONS_H_
