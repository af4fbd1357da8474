// Data-parallel training of any torch::nn::Module for people who own their loop; Trainer stands on
// it.
#ifndef MUSTER_TRAINER_ENGINE_H_
#define MUSTER_TRAINER_ENGINE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/error.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/reduction_tree.h"
#include "muster/trainer/engine_options.h"

namespace torch::nn {
class Module;
}

namespace muster {

/// What a finished step says; the same bits on every rank.
struct StepReport {
  std::int64_t step = 0;     ///< Updates made so far.
  double loss = 0;           ///< Mean over the global batch's weight.
  double weight = 0;         ///< Samples (or tokens) in the global batch.
  double gradient_norm = 0;  ///< L2, of the mean gradient, before clipping.
  double learning_rate = 0;
  double loss_scale = 1;  ///< That the gradients of this step had.
  bool skipped = false;   ///< A gradient overflowed float16: nothing was updated.
};

/// Thrown by finish_step() on every rank alike, before any update.
class LossNotFinite : public UserError {
 public:
  LossNotFinite(const std::string& message, int logical_rank)
      : UserError(message), logical_rank_(logical_rank) {}
  /// The first that had such a loss.
  int logical_rank() const { return logical_rank_; }

 private:
  int logical_rank_;
};

/// One micro-batch to run: whose, and which.
struct MicroStep {
  int logical_rank = 0;
  std::int64_t micro_step = 0;
};

/// A tensor of the training state as checkpoints know it, and what this rank holds of it.
struct StateTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  /// Elements [begin, begin + flat.numel()) of the flattened tensor; perhaps none. One-dimensional
  /// and contiguous.
  std::int64_t begin = 0;
  at::Tensor flat;
  /// Every rank holds all of it; else each element is on one rank.
  bool replicated = true;
};

/// Owns the flat parameters, gradient buckets and optimizer state of one module, sharded over the
/// ranks as EngineOptions::zero_stage says. A step is
///     engine.begin_step();
///     for (const MicroStep& micro : engine.micro_steps()) {
///       engine.begin_micro_step(micro);
///       {
///         const Autocast autocast(engine.options().precision, engine.device());
///         loss = ...;
///       }
///       engine.backward(loss, weight);          // not called for an empty micro-batch
///     }
///     StepReport report = engine.finish_step(learning_rate);
/// Parameters after it depend on data, seed, options and the number of logical ranks, never on the
/// world size or the stage. A step that threw, or is given up, may be begun again if that is so on
/// every rank; where it is not, finish_step() on the others throws UserError. Gradients do not go
/// by way of Tensor::grad(): torch::nn::utils::clip_grad_norm_() finds none, so clip by
/// EngineOptions::clip_norm.
/// From the first engine of a process on, glibc's malloc keeps up to 256 MiB that a step frees for
/// the next, unless GLIBC_TUNABLES or MALLOC_TRIM_THRESHOLD_ are set: see docs/benchmarks.md.
/// One thread. Errors of the communicator (PeerLost, Timeout, Mismatch) come through; after one the
/// engine is of no more use.
class Engine {
 public:
  /// Collective. Moves the module's trainable parameters (float32) into flat storage, in place:
  /// handles the caller has stay valid. With kBFloat16 they, floating-point buffers and frozen
  /// parameters become bfloat16. All ranks start from rank 0's values. `module` and `communicator`
  /// must outlive the engine.
  ///
  /// All of the module is on the CPU, or on one GPU, on every rank alike; `communicator` is the
  /// World's in both cases. GPUs take a program that links muster::cuda.
  ///
  /// Throws ConfigError for a parameter of another dtype or device, options that do not fit the
  /// world size, or a model that is not the same on every rank.
  Engine(torch::nn::Module& module, Communicator& communicator, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Where the module is, and its inputs must be.
  at::Device device() const;
  /// This rank's logical ranks, [begin, end).
  LogicalRange logical_ranks() const;
  /// Its micro-steps, in the order they must be run.
  const std::vector<MicroStep>& micro_steps() const;

  /// Throws UserError naming a parameter whose requires_grad was changed since the engine was made,
  /// or its data replaced (set_data(), torch::load(), Module::to()), or that was written to where
  /// that would be lost or done once a rank: at stage 3, and where masters are updated. Elsewhere
  /// parameters may be written to between steps, on every rank alike; but not by Tensor::data(),
  /// of which nobody can hear. Throws UserError while the average of weights is in their place.
  /// Collective where the step before was not finished.
  void begin_step();
  /// Seeds LibTorch's generators from (seed, step, logical rank, micro-step) and gives the logical
  /// rank its own buffers, as they were at begin_step(). Throws UserError before a begin_step(), or
  /// where a backward pass of the step threw, and for a buffer of another size or layout than at
  /// first.
  void begin_micro_step(const MicroStep& micro);
  /// Runs the backward pass, once a micro-step; none within it (activation_checkpoint() makes
  /// none). `loss` is a scalar: the mean over this micro-batch; `weight` the number of samples (or
  /// tokens) it is a mean over, > 0. Gradients are summed with these weights and divided by their
  /// total over the global batch. Returns the loss's value.
  double backward(const at::Tensor& loss, double weight);
  /// Collective. Reduces in tree order (the buckets that the last backward pass completed are under
  /// way already), clips, updates.
  /// Throws UserError as begin_micro_step() does, when another rank gave the step up, when no
  /// micro-batch of the global batch had a backward(), when a parameter was written to during the
  /// step, and when the loss (LossNotFinite) or the gradient is not
  /// finite; the message names the step, and the logical rank or the parameter. Nothing has been
  /// updated then. With kFloat16Mixed such a step is skipped instead, and the scale halved, as long
  /// as that is above LossScale::kLeast.
  StepReport finish_step(double learning_rate);

  /// Steps made so far, skipped ones included; restored by resume().
  std::int64_t step() const;
  const LossScale& loss_scale() const;
  void resume(std::int64_t step, const LossScale& loss_scale);

  /// Everything a checkpoint must hold: parameters (with kBFloat16 their masters), optimizer state,
  /// buffers, frozen parameters. Writing into the tensors, on every rank, and then calling
  /// state_changed() restores them.
  std::vector<StateTensor> state();
  /// Collective. The same with every tensor whole on every rank, in host memory; copies where it is
  /// sharded or on a GPU. This, state_changed() and swap_average() throw UserError in the midst of
  /// a step's micro-steps.
  std::vector<StateTensor> whole_state();

  /// Collective. After writing into what state() gave: from here on every rank reads it.
  void state_changed();

  /// Collective. Exchanges the parameters and the average of weights (EngineOptions::ema_decay); a
  /// second call restores both, to the bit. No step may run in between. Nothing before the first
  /// step. Throws ConfigError where no average is kept.
  void swap_average();

  /// Whole parameters in this process's memory for as long as the result lives: for what reads them
  /// by their addresses, as torch::save() and data_ptr() do, and not by LibTorch's operations. At
  /// stage 3 between nodes and on GPUs data_ptr() is an error else. No other rank need call it.
  /// Give it back before the engine ends.
  [[nodiscard]] std::shared_ptr<void> hold_parameters();

  Communicator& communicator();
  const EngineOptions& options() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_ENGINE_H_
