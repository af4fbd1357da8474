// Subclass Trainer, say what the model, the data and the loss are, and it trains on any number of
// ranks.
#ifndef MUSTER_TRAINER_TRAINER_H_
#define MUSTER_TRAINER_TRAINER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "muster/base/options.h"
#include "muster/data_loader/batch.h"
#include "muster/data_loader/dataset.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/metrics.h"
#include "muster/trainer/trainer_options.h"

namespace torch::nn {
class Module;
}

namespace muster {

class ControlChannel;
class World;

/// The loss of one micro-batch: a scalar mean, and how many samples (or tokens) it is a mean over.
/// A micro-batch whose weight is 0, of which every token is masked, say, counts for nothing,
/// whatever its mean.
struct Loss {
  Loss(at::Tensor mean_loss)
      : mean(std::move(mean_loss)) {}  // NOLINT: a plain tensor is a loss over samples
  Loss(at::Tensor mean_loss, double mean_weight)
      : mean(std::move(mean_loss)), weight(mean_weight) {}

  at::Tensor mean;               ///< Scalar, with a graph.
  std::optional<double> weight;  ///< Unset: the batch's number of samples.

  double weight_over(const Batch& batch) const {
    return weight.value_or(static_cast<double>(batch.size()));
  }
};

/// What an evaluation during training found; the same bits on every rank.
struct EvaluationReport {
  std::int64_t step = 0;
  const MetricSums& metrics;
  bool best = false;  ///< By --score, of all so far.
};

/// All virtual functions are called from one thread. They run on every rank unless said otherwise,
/// and must do the same on each. Whatever they throw ends the run: a muster::Error with its own
/// exit code, anything else with 1.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // What a subclass must say.
  /// The model, on the CPU, with LibTorch's generator seeded from --seed; it is then moved to
  /// device(). Modules that it puts into eval mode stay in it, such as a batch norm that is frozen.
  /// Keep a handle of your own for compute_loss(). What forward() keeps from step to step
  /// is a registered buffer, written in place: a tensor assigned to its member is another one,
  /// which is not saved, and differs between ranks.
  virtual std::shared_ptr<torch::nn::Module> build_model() = 0;
  virtual std::shared_ptr<const Dataset> train_dataset() = 0;
  /// Runs the model on one micro-batch (never empty). The mean is over samples unless Loss says
  /// otherwise.
  virtual Loss compute_loss(const Batch& batch) = 0;

  // What it may say.
  /// Adds flags of its own. They are part of the job's definition.
  virtual void add_options(OptionSet& options);
  /// Data to evaluate on, or nullptr: no evaluation.
  virtual std::shared_ptr<const Dataset> test_dataset();
  /// Data to evaluate on during training instead, so that --score and --patience never see the test
  /// data: those are then used once, at the end, for test.json in the run's directory.
  virtual std::shared_ptr<const Dataset> validation_dataset();
  /// Adds one evaluation batch (up to --eval-batch samples). The model is in eval mode, without
  /// gradients. By default "loss" from compute_loss().
  virtual void evaluate_batch(const Batch& batch, MetricSums& sums);
  /// Whether weight decay acts on a parameter; by default where it has two dimensions or more.
  virtual bool decays(const std::string& name, const at::Tensor& parameter) const;
  /// Whether build_model() heeds --activation-checkpointing; by default not, and the flag is
  /// refused.
  virtual bool offers_activation_checkpointing() const { return false; }

  // What it may listen to, in this order at a step's end. Collectives are allowed where every rank
  // is called; training waits meanwhile.
  /// After an update, before its evaluation and checkpoint.
  virtual void on_step_end(const StepReport& report);
  /// After the last step of an epoch; `epochs` are done.
  virtual void on_epoch_end(std::int64_t epochs);
  virtual void on_evaluation(const EvaluationReport& report);
  /// Rank 0 alone, at the end of a later step or of the run: the checkpoint of `step` is whole and
  /// safe on disk. A run that is killed may not be told of its last one.
  virtual void on_checkpoint(std::int64_t step, const std::filesystem::path& path);
  /// Rank 0 alone, once the last step and evaluation are done; the model is in eval mode, and
  /// with a --score and checkpoints as it was at its best.
  virtual void on_finished();

  // What of its own must survive.
  /// Any text in UTF-8, the same on every rank: it is kept in each checkpoint and snapshot, and
  /// part of the state hash. Empty: none.
  virtual std::string save_state() const;
  /// That text, at a resume from a checkpoint that has one, before the first step.
  virtual void load_state(const std::string& state);

  /// Defaults may be set in a subclass's constructor; flags win over them.
  TrainerOptions options;

  /// Updates made so far.
  std::int64_t step() const { return step_; }
  /// Where the model is once it has been built, and the batches are that compute_loss() and
  /// evaluate_batch() get: make tensors of your own there.
  at::Device device() const { return device_; }
  /// Engine::hold_parameters(): for torch::save() in on_finished(), say. nullptr before training.
  [[nodiscard]] std::shared_ptr<void> hold_parameters();

 private:
  friend class TrainingRun;
  std::int64_t step_ = 0;
  at::Device device_ = at::kCPU;
  Engine* engine_ = nullptr;  // while it trains
};

/// Why a run ended.
enum class RunOutcome { kFinished, kInterrupted, kPreempted };

/// Collective. Chooses a micro-batch where none is given, trains to the end, or until it is told to
/// stop; restores from the newest checkpoint first. `control` may be null. `option_set` is what
/// `trainer`'s options were parsed by.
RunOutcome run_training(Trainer& trainer, World& world, const OptionSet& option_set,
                        ControlChannel* control);

}  // namespace muster

#endif  // MUSTER_TRAINER_TRAINER_H_
