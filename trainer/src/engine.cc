// One training step: micro-steps into the tree's slots, reduction, clipping, update.
#include "muster/trainer/engine.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <c10/util/ScopeExit.h>

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>
#include <utility>

#include "accelerator.h"
#include "engine_layout.h"
#include "freed_memory.h"
#include "gradient_buffers.h"
#include "gradient_norm.h"
#include "model_agreement.h"
#include "module_buffers.h"
#include "module_tensors.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "not_finite_report.h"
#include "parameter_watch.h"
#include "piece_device.h"
#include "seeding.h"
#include "state_list.h"
#include "tree_vector.h"
#include "weight_update.h"

namespace muster {
namespace {

void check(const EngineOptions& options) {
  const std::vector<std::string> problems = options.validate();
  if (problems.empty()) return;
  std::string text;
  for (const std::string& problem : problems) text += (text.empty() ? "" : "; ") + problem;
  throw ConfigError(text);
}

std::vector<MicroStep> plan_micro_steps(LogicalRange run, std::int64_t accumulation_steps) {
  std::vector<MicroStep> steps;
  for (int l = run.begin; l < run.end; ++l) {
    for (std::int64_t m = 0; m < accumulation_steps; ++m) steps.push_back({l, m});
  }
  return steps;
}

/// What is not trained is lowered at once, since it has no masters.
internal::ModuleTensors collect(torch::nn::Module& module, Precision precision) {
  internal::ModuleTensors tensors = internal::collect_tensors(module);
  internal::check_apart(tensors);
  internal::make_contiguous(tensors.frozen);
  if (precision == Precision::kBFloat16) {
    internal::make_bfloat16(tensors.frozen);
    internal::make_bfloat16(tensors.buffers);
  }
  return tensors;
}

at::Device device_of(const internal::ModuleTensors& tensors) {
  return tensors.trainable.empty() ? at::Device(at::kCPU)
                                   : tensors.trainable.front().tensor.device();
}

internal::OwnerWrites owner_writes(const EngineOptions& options, at::Device device,
                                   internal::ParameterForm form, int world_size) {
  using internal::OwnerWrites;
  using internal::ParameterForm;
  if (form == ParameterForm::kGathered) return OwnerWrites::kHeardElsewhere;
  const bool whole = form == ParameterForm::kReplicated || form == ParameterForm::kMirrored;
  const bool own = whole || world_size == 1;
  return own && !internal::keeps_masters(options, device) ? OwnerWrites::kBetweenSteps
                                                          : OwnerWrites::kNever;
}

constexpr double kMostFloat = std::numeric_limits<float>::max();

void check_loss(const at::Tensor& loss) {
  std::string found;
  if (!loss.defined()) {
    found = "an undefined tensor";
  } else if (loss.numel() != 1 || !loss.requires_grad()) {
    found = std::to_string(loss.numel()) + " elements" +
            (loss.requires_grad() ? "" : " without a gradient");
  } else if (!loss.is_floating_point()) {
    found = c10::toString(loss.scalar_type());
  } else {
    return;
  }
  throw UserError("loss: expected a scalar that depends on the parameters, found " + found +
                  "; return the mean over the batch from compute_loss()");
}

/// Gradients are multiplied by both, in float32.
void check_weight(double weight, double loss_scale) {
  constexpr double kLeastFloat = std::numeric_limits<float>::min();
  if (weight >= kLeastFloat && weight * loss_scale <= kMostFloat) return;
  std::ostringstream text;
  text << "loss weight: expected a number above 0 that float32 has room for, found " << weight
       << "; give the number of samples or tokens that the loss is a mean over";
  throw UserError(text.str());
}

/// What a backward pass begins with, and what is left to multiply its gradients by.
struct RootGradient {
  double value;
  double factor;
};

/// With the weight and the scale in one; but a loss of a lower precision than float32 would round
/// the weight, or have no room for it: there with the scale alone, as a power of two.
RootGradient root_gradient(at::ScalarType loss, double weight, double scale) {
  const double whole = weight * scale;
  if (loss == at::kFloat || loss == at::kDouble) return {whole, 1};
  const double value = std::ldexp(1.0, std::ilogb(scale));
  return {value, whole / value};
}

std::vector<at::Tensor> tensors_of(const std::vector<internal::NamedTensor>& named) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(internal::ModuleTensors tensors, Communicator& communicator, EngineOptions options)
      : communicator_(communicator),
        options_(std::move(options)),
        device_(device_of(tensors)),
        on_gpu_(device_.is_cpu() ? nullptr
                                 : internal::communicator_on(device_, communicator, options_)),
        tensor_communicator_(on_gpu_ ? *on_gpu_ : communicator_),
        pieces_(internal::piece_device(device_, options_)),
        tree_(options_.logical_ranks),
        run_(assign_logical_ranks(
            options_.logical_ranks,
            communicator.world_size())[static_cast<std::size_t>(communicator.rank())]),
        micro_steps_(plan_micro_steps(run_, options_.accumulation_steps)),
        frozen_(std::move(tensors.frozen)),
        trainable_(std::move(tensors.trainable)),
        buffers_(std::move(tensors.buffers), device_),
        form_(internal::parameter_form(communicator, options_, device_)),
        layout_(internal::make_layout(trainable_, options_, communicator.world_size(), form_)),
        shard_(internal::make_shard(layout_, options_, communicator.rank(),
                                    communicator.world_size())),
        update_(options_, trainable_, layout_, shard_, form_,
                {communicator_, tensor_communicator_, pieces_}),
        gradients_(trainable_, layout_, shard_, tensor_communicator_,
                   {options_.zero_stage, options_.logical_ranks, run_, options_.accumulation_steps,
                    options_.reduction, options_.offload_optimizer ? &pieces_ : nullptr}),
        sinks_(tensors_of(trainable_), gradients_),
        totals_(options_.logical_ranks, run_, kTotals),
        watch_(trainable_, frozen_,
               owner_writes(options_, device_, form_, communicator.world_size())) {
    loss_scale_.scale = scales_loss() ? options_.initial_loss_scale : 1.0;
    // Rank 0's values are everyone's, whatever build_model() did.
    for (const auto& [name, tensor] : frozen_)
      tensor_communicator_.broadcast(tensor.detach(), 0).wait();
    buffers_.begin_step();
    buffers_.publish(tensor_communicator_);
    buffers_.finish_step();
    internal::keep_freed_memory();
  }

  void begin_step() {
    if (swapped_) {
      throw UserError(
          "begin_step: expected the parameters, found their average in their place; call "
          "swap_average() once more");
    }
    watch_.begin_step();
    give_up_step();
    totals_work_.reset();
    gradients_.reset();
    totals_.reset();
    buffers_.begin_step();
    not_finite_.reset();
    next_micro_step_ = 0;
    leaf_open_ = false;
    pass_threw_ = false;
    step_open_ = true;
  }

  void begin_micro_step(const MicroStep& micro) {
    require_step("begin_micro_step");
    MUSTER_CHECK_LT(next_micro_step_, micro_steps_.size())
        << "more micro-steps than micro_steps() lists";
    const MicroStep& expected = micro_steps_[next_micro_step_];
    MUSTER_CHECK(micro.logical_rank == expected.logical_rank &&
                 micro.micro_step == expected.micro_step)
        << "micro-steps must run in the order of micro_steps()";
    if (micro.micro_step == 0) {
      close_leaf();
      open_leaf(micro.logical_rank);
    }
    ++next_micro_step_;
    had_backward_ = false;
    update_.parameters().begin_pass();
    internal::seed_default_generators(
        internal::stream_seed(options_.seed, internal::StreamPurpose::kMicroStep, step_,
                              micro.logical_rank, micro.micro_step),
        device_);
  }

  double backward(const at::Tensor& loss, double weight) {
    // All that is refused is so before this rank tells others of its totals.
    check_loss(loss);
    check_weight(weight, loss_scale_.scale);
    if (!step_open_ || !leaf_open_) {
      throw UserError(
          "backward: expected a begin_micro_step() before it, found none in this step; call it for "
          "each of micro_steps()");
    }
    if (std::exchange(had_backward_, true)) {
      throw UserError(
          "backward: expected one call a micro-step, found a second; add the losses and call it "
          "once");
    }
    const double value = loss.item<double>();
    if (!std::isfinite(value) && !not_finite_) not_finite_ = micro_steps_[next_micro_step_ - 1];
    leaf_totals_[kWeightedLoss] += value * weight;
    leaf_totals_[kWeight] += weight;
    if (in_last_micro_step()) issue_totals();
    // The weight enters with the root gradient, which scales every gradient by it.
    const RootGradient root = root_gradient(loss.scalar_type(), weight, loss_scale_.scale);
    gradients_.begin_backward(in_last_micro_step(), root.factor);
    const auto end = c10::make_scope_exit([this] { gradients_.end_backward(); });
    pass_threw_ = true;
    loss.backward(at::full_like(loss, root.value, at::TensorOptions(at::kFloat)));
    pass_threw_ = false;
    return value;
  }

  StepReport finish_step(double learning_rate) {
    require_step("finish_step");
    MUSTER_CHECK_EQ(next_micro_step_, micro_steps_.size()) << "a step needs all its micro-steps";
    try {
      watch_.end_passes();
    } catch (const UserError&) {
      give_up_step();
      throw;
    }
    close_leaf();
    totals_work_->wait();
    if (totals_.sum()[kGivenUp] > 0) {
      abandon(UserError("step " + std::to_string(step_ + 1) +
                        ": expected every rank to finish it, found that another gave it up; see "
                        "what that one says"));
    }
    buffers_.publish(tensor_communicator_);
    StepReport report;
    report.weight = totals_.sum()[kWeight];
    report.loss = totals_.sum()[kWeightedLoss] / report.weight;
    report.learning_rate = learning_rate;
    if (!(report.weight > 0))
      abandon(UserError("step: expected at least one sample in the global batch, found none"));
    if (!(learning_rate >= 0 && learning_rate <= kMostFloat)) {
      abandon(UserError("learning rate: expected a finite number, 0 or more, found " +
                        std::to_string(learning_rate) + "; look at what finish_step() is given"));
    }
    if (!std::isfinite(report.loss) && !scale_can_shrink()) abandon(loss_not_finite(report.loss));
    report.loss_scale = loss_scale_.scale;
    report.gradient_norm =
        update_.update(gradients_, report.weight * loss_scale_.scale, learning_rate, updates() + 1);
    report.skipped = !std::isfinite(report.gradient_norm);
    if (report.skipped && !scale_can_shrink()) abandon(gradient_not_finite());
    if (scales_loss()) loss_scale_.update(report.skipped, options_.loss_scale_growth_interval);
    // What overflowed is in the buffers, too.
    report.skipped ? buffers_.abandon_step() : buffers_.finish_step();
    step_open_ = false;
    report.step = ++step_;
    return report;
  }

  std::vector<StateTensor> state() {
    internal::StateList list(trainable_, layout_, shard_);
    update_.add_weights(list);
    for (const auto& [name, tensor] : frozen_) list.add_whole("model." + name, tensor);
    for (const auto& [name, tensor] : buffers_.named()) list.add_whole("model." + name, tensor);
    update_.add_optimizer(list);
    return std::move(list).tensors();
  }

  void state_changed() {
    refuse_in_passes("state_changed");
    update_.changed();
    buffers_.changed();
  }

  std::vector<StateTensor> whole_state() {
    refuse_in_passes("whole_state");
    return internal::assemble_whole(state(), communicator_);
  }

  void swap_average() {
    if (!update_.has_average()) {
      throw ConfigError(
          "average of weights: expected an engine that keeps one, found none; set "
          "EngineOptions::ema_decay (--ema)");
    }
    refuse_in_passes("swap_average");
    if (updates() == 0) return;
    update_.swap_average();
    swapped_ = !swapped_;
  }

  std::shared_ptr<void> hold_parameters() {
    update_.parameters().hold_all();
    return {&update_.parameters(), [](internal::ParameterStore* store) { store->release_all(); }};
  }

  at::Device device() const { return device_; }
  LogicalRange run() const { return run_; }
  const std::vector<MicroStep>& micro_steps() const { return micro_steps_; }
  Communicator& communicator() { return communicator_; }
  const EngineOptions& options() const { return options_; }
  std::int64_t step() const { return step_; }
  const LossScale& loss_scale() const { return loss_scale_; }
  void resume(std::int64_t step, const LossScale& loss_scale) {
    if (step < 0 || loss_scale.skipped_steps < 0 || loss_scale.skipped_steps > step) {
      throw ConfigError("resume: expected 0 steps or more, found " + std::to_string(step) +
                        ", of which " + std::to_string(loss_scale.skipped_steps) + " skipped");
    }
    step_ = step;
    loss_scale_ = loss_scale;
  }

 private:
  /// What is summed over the global batch.
  enum Total : std::size_t { kWeightedLoss, kWeight, kGivenUp, kTotals };

  /// Skipped steps made none.
  std::int64_t updates() const { return step_ - loss_scale_.skipped_steps; }
  bool in_last_micro_step() const { return next_micro_step_ == micro_steps_.size(); }

  void require_step(const char* call) const {
    if (!step_open_) {
      throw UserError(std::string(call) +
                      ": expected a begin_step() before it, found none since the last step ended; "
                      "call it once a step");
    }
    if (pass_threw_) {
      throw UserError(std::string(call) +
                      ": expected every backward pass of the step to end, found that one threw, "
                      "whose gradients are there in part; begin the step again, on every rank");
    }
  }

  /// Buffers are a logical rank's own then.
  void refuse_in_passes(const char* call) const {
    if (!step_open_ || next_micro_step_ == 0) return;
    throw UserError(std::string(call) +
                    ": expected to be called between steps, found one that is not finished; call "
                    "finish_step() before, or begin_step() to give it up");
  }

  // Every rank makes the same calls, wherever on its way it gave the step up. On one that did not,
  // finish_step() hears of it.
  void give_up_step() {
    if (!std::exchange(step_open_, false)) return;
    if (!totals_work_) {
      leaf_totals_.fill(0);
      leaf_totals_[kGivenUp] = 1;
      while (!totals_.has_all_leaves()) totals_.add_leaf(leaf_totals_);
      totals_work_ = totals_.reduce(communicator_, tree_);
    }
    gradients_.issue_missing();
    totals_work_->wait();
    buffers_.abandon_step();
  }

  void open_leaf(int logical_rank) {
    open_logical_rank_ = logical_rank;
    leaf_open_ = true;
    leaf_totals_.fill(0);
    buffers_.begin_logical_rank();
    gradients_.begin_leaf();
  }

  void close_leaf() {
    if (!leaf_open_) return;
    leaf_open_ = false;
    if (!in_last_micro_step()) {
      totals_.add_leaf(leaf_totals_);
    } else if (!totals_work_) {
      issue_totals();
    }
    gradients_.end_leaf();
    if (open_logical_rank_ == 0) buffers_.keep();
  }

  // On every rank before its first bucket, since all must issue one sequence.
  void issue_totals() {
    totals_.add_leaf(leaf_totals_);
    totals_work_ = totals_.reduce(communicator_, tree_);
  }

  bool scales_loss() const { return options_.precision == Precision::kFloat16Mixed; }
  /// Whether a step that overflowed may not overflow with the next scale.
  bool scale_can_shrink() const { return scales_loss() && loss_scale_.scale > LossScale::kLeast; }

  /// Nothing of the step is left.
  template <typename Error>
  [[noreturn]] void abandon(const Error& error) {
    buffers_.abandon_step();
    step_open_ = false;
    throw error;
  }

  LossNotFinite loss_not_finite(double loss) {
    const int mine = not_finite_ ? not_finite_->logical_rank : options_.logical_ranks;
    return internal::loss_not_finite(communicator_, step_ + 1, loss, mine);
  }

  UserError gradient_not_finite() {
    const std::size_t mine = internal::first_not_finite(
        layout_, shard_, [this](std::size_t b) { return host_piece(b); });
    return internal::gradient_not_finite(communicator_, step_ + 1, trainable_, mine);
  }

  /// A bucket's reduced piece in host memory, where no step follows.
  const float* host_piece(std::size_t bucket) {
    float* const piece = gradients_.reduced(bucket);
    if (pieces_.options().device().is_cpu()) return piece;
    const std::int64_t numel = shard_.pieces[bucket].flat.numel();
    host_pieces_.push_back(at::from_blob(piece, {numel}, pieces_.options()).cpu());
    return host_pieces_.back().const_data_ptr<float>();
  }

  Communicator& communicator_;  // of host memory
  EngineOptions options_;
  const at::Device device_;
  const std::unique_ptr<Communicator> on_gpu_;
  Communicator& tensor_communicator_;  // of the memory that the module is in
  const internal::PieceDevice& pieces_;
  ReductionTree tree_;
  LogicalRange run_;
  std::vector<MicroStep> micro_steps_;
  std::vector<internal::NamedTensor> frozen_;
  std::vector<internal::NamedTensor> trainable_;
  internal::ModuleBuffers buffers_;
  const internal::ParameterForm form_;
  internal::FlatLayout layout_;
  internal::ShardLayout shard_;
  internal::WeightUpdate update_;
  internal::GradientBuffers gradients_;
  internal::GradientSinks sinks_;
  std::vector<at::Tensor> host_pieces_;
  internal::TreeVector totals_;
  internal::ParameterWatch watch_;
  std::optional<Work> totals_work_;

  std::int64_t step_ = 0;
  LossScale loss_scale_;
  std::optional<MicroStep>
      not_finite_;  // this rank's first whose loss was not finite, of this step
  std::size_t next_micro_step_ = 0;
  bool leaf_open_ = false;
  bool had_backward_ = false;
  int open_logical_rank_ = 0;
  bool step_open_ = false;
  bool pass_threw_ = false;
  bool swapped_ = false;  // in the parameters' place
  std::array<double, kTotals> leaf_totals_{};
};

Engine::Engine(torch::nn::Module& module, Communicator& communicator, EngineOptions options) {
  check(options);
  internal::check_same_model(internal::collect_tensors(module), communicator);
  impl_ =
      std::make_unique<Impl>(collect(module, options.precision), communicator, std::move(options));
}

Engine::~Engine() = default;

at::Device Engine::device() const { return impl_->device(); }
LogicalRange Engine::logical_ranks() const { return impl_->run(); }
const std::vector<MicroStep>& Engine::micro_steps() const { return impl_->micro_steps(); }
void Engine::begin_step() { impl_->begin_step(); }
void Engine::begin_micro_step(const MicroStep& micro) { impl_->begin_micro_step(micro); }
double Engine::backward(const at::Tensor& loss, double weight) {
  return impl_->backward(loss, weight);
}
StepReport Engine::finish_step(double learning_rate) { return impl_->finish_step(learning_rate); }
std::int64_t Engine::step() const { return impl_->step(); }
const LossScale& Engine::loss_scale() const { return impl_->loss_scale(); }
void Engine::resume(std::int64_t step, const LossScale& loss_scale) {
  impl_->resume(step, loss_scale);
}
std::shared_ptr<void> Engine::hold_parameters() { return impl_->hold_parameters(); }
std::vector<StateTensor> Engine::state() { return impl_->state(); }
std::vector<StateTensor> Engine::whole_state() { return impl_->whole_state(); }
void Engine::state_changed() { impl_->state_changed(); }
void Engine::swap_average() { impl_->swap_average(); }
Communicator& Engine::communicator() { return impl_->communicator(); }
const EngineOptions& Engine::options() const { return impl_->options(); }

}  // namespace muster
