// One training step: micro-steps into the tree's slots, reduction, clipping, update.
#include "muster/trainer/engine.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "flat_optimizer.h"
#include "flat_parameters.h"
#include "gradient_buffers.h"
#include "module_buffers.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "optimizer_kernels.h"
#include "seeding.h"
#include "tree_vector.h"

namespace muster {
namespace {

using internal::FlatRange;

EngineOptions checked(EngineOptions options) {
  const std::vector<std::string> problems = options.validate();
  if (problems.empty()) return options;
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

std::vector<bool> decay_table(const EngineOptions& options,
                              const std::vector<internal::NamedTensor>& parameters) {
  std::vector<bool> decays;
  for (const auto& [name, tensor] : parameters) {
    decays.push_back(options.decays ? options.decays(name, tensor) : tensor.dim() >= 2);
  }
  return decays;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(internal::ModuleTensors tensors, Communicator& communicator, EngineOptions options)
      : communicator_(communicator),
        options_(checked(std::move(options))),
        tree_(options_.logical_ranks),
        run_(assign_logical_ranks(
            options_.logical_ranks,
            communicator.world_size())[static_cast<std::size_t>(communicator.rank())]),
        micro_steps_(plan_micro_steps(run_, options_.accumulation_steps)),
        frozen_(std::move(tensors.frozen)),
        parameters_(std::move(tensors.trainable)),
        buffers_(std::move(tensors.buffers)),
        gradients_(parameters_.tensors(), parameters_.layout(),
                   internal::make_buckets(parameters_.layout().numel, options_.bucket_mib << 20),
                   communicator, options_.logical_ranks, run_,
                   /*direct=*/options_.accumulation_steps == 1),
        sinks_(parameters_.tensors(), gradients_),
        optimizer_(options_.optimizer, parameters_.layout(),
                   decay_table(options_, parameters_.named())),
        totals_(options_.logical_ranks, run_, 2) {
    // Rank 0's values are everyone's, whatever build_model() did.
    communicator_.broadcast(parameters_.values(), 0).wait();
    for (const auto& [name, tensor] : frozen_) communicator_.broadcast(tensor.detach(), 0).wait();
    buffers_.begin_step();
    buffers_.finish_step(communicator_);
  }

  void begin_step() {
    gradients_.reset();
    totals_.reset();
    buffers_.begin_step();
    next_micro_step_ = 0;
    leaf_open_ = false;
  }

  void begin_micro_step(const MicroStep& micro) {
    MUSTER_CHECK_LT(next_micro_step_, micro_steps_.size())
        << "more micro-steps than micro_steps() lists";
    const MicroStep& expected = micro_steps_[next_micro_step_++];
    MUSTER_CHECK(micro.logical_rank == expected.logical_rank &&
                 micro.micro_step == expected.micro_step)
        << "micro-steps must run in the order of micro_steps()";
    if (micro.micro_step == 0) {
      close_leaf();
      open_leaf(micro.logical_rank);
    }
    internal::seed_default_generator(
        internal::stream_seed(options_.seed, internal::StreamPurpose::kMicroStep, step_,
                              micro.logical_rank, micro.micro_step));
  }

  void backward(const at::Tensor& loss, double weight) {
    if (loss.numel() != 1 || !loss.requires_grad()) {
      throw UserError("loss: expected a scalar that depends on the parameters, found " +
                      std::to_string(loss.numel()) + " elements" +
                      (loss.requires_grad() ? "" : " without a gradient") +
                      "; return the mean over the batch from compute_loss()");
    }
    if (!(weight > 0) || !std::isfinite(weight)) {
      throw UserError("loss weight: expected a number above 0, found " + std::to_string(weight));
    }
    // The weight enters as the root gradient, which scales every gradient by it.
    loss.backward(at::full_like(loss, weight));
    leaf_totals_[0] += loss.item<double>() * weight;
    leaf_totals_[1] += weight;
  }

  StepReport finish_step(double learning_rate) {
    MUSTER_CHECK_EQ(next_micro_step_, micro_steps_.size()) << "a step needs all its micro-steps";
    close_leaf();
    std::vector<Work> works = gradients_.reduce(communicator_, tree_);
    const std::vector<double> totals = totals_.all_reduce(communicator_, tree_);
    buffers_.finish_step(communicator_);
    for (Work& work : works) work.wait();
    const double weight = totals[1];
    if (!(weight > 0))
      throw UserError("step: expected at least one sample in the global batch, found none");

    StepReport report;
    report.loss = totals[0] / weight;
    report.weight = weight;
    report.learning_rate = learning_rate;
    report.gradient_norm = gradient_norm() / weight;
    const bool clip = options_.clip_norm > 0 && report.gradient_norm > options_.clip_norm;
    const double factor = clip ? options_.clip_norm / report.gradient_norm : 1.0;
    optimizer_.update(parameters_.values(), gradients_.reduced(), factor / weight, learning_rate,
                      step_ + 1);
    report.step = ++step_;
    return report;
  }

  std::vector<StateTensor> state() {
    std::vector<StateTensor> state;
    const auto add = [&](const std::string& name, const at::Tensor& like, const at::Tensor& flat) {
      state.push_back({name, like.sizes().vec(), flat});
    };
    const auto& named = parameters_.named();
    const auto add_flat = [&](const std::string& prefix, const at::Tensor& flat) {
      for (std::size_t i = 0; i < named.size(); ++i) {
        const FlatRange range = parameters_.layout().parameters[i];
        add(prefix + named[i].name, named[i].tensor, flat.narrow(0, range.begin, range.numel()));
      }
    };
    add_flat("model.", parameters_.values());
    for (const auto& [name, tensor] : frozen_)
      add("model." + name, tensor, tensor.detach().view(-1));
    for (const auto& [name, tensor] : buffers_.named())
      add("model." + name, tensor, tensor.view(-1));
    for (const auto& [name, flat] : optimizer_.state()) add_flat("optimizer." + name + ".", flat);
    return state;
  }

  LogicalRange run() const { return run_; }
  const std::vector<MicroStep>& micro_steps() const { return micro_steps_; }
  Communicator& communicator() { return communicator_; }
  const EngineOptions& options() const { return options_; }
  std::int64_t step() const { return step_; }
  void set_step(std::int64_t step) { step_ = step; }

 private:
  void open_leaf(int logical_rank) {
    open_logical_rank_ = logical_rank;
    leaf_open_ = true;
    leaf_totals_[0] = leaf_totals_[1] = 0;
    buffers_.begin_logical_rank();
    gradients_.begin_leaf();
  }

  void close_leaf() {
    if (!leaf_open_) return;
    leaf_open_ = false;
    gradients_.end_leaf();
    totals_.add_leaf(leaf_totals_);
    if (open_logical_rank_ == 0) buffers_.keep();
  }

  /// Of the summed gradient: squares over fixed blocks, then one fixed tree, so that no shard or
  /// bucket shows.
  double gradient_norm() {
    const std::int64_t numel = parameters_.layout().numel;
    block_sums_.resize(static_cast<std::size_t>(numel / internal::kBlockNumel));
    internal::block_square_sums(gradients_.reduced().const_data_ptr<float>(), numel,
                                block_sums_.data());
    return std::sqrt(
        internal::tree_sum(block_sums_.data(), static_cast<std::int64_t>(block_sums_.size())));
  }

  Communicator& communicator_;
  EngineOptions options_;
  ReductionTree tree_;
  LogicalRange run_;
  std::vector<MicroStep> micro_steps_;
  std::vector<internal::NamedTensor> frozen_;
  internal::FlatParameters parameters_;
  internal::ModuleBuffers buffers_;
  internal::GradientBuffers gradients_;
  internal::GradientSinks sinks_;
  internal::FlatOptimizer optimizer_;
  internal::TreeVector totals_;
  std::vector<double> block_sums_;

  std::int64_t step_ = 0;
  std::size_t next_micro_step_ = 0;
  bool leaf_open_ = false;
  int open_logical_rank_ = 0;
  double leaf_totals_[2] = {0, 0};  // loss times weight, weight
};

Engine::Engine(torch::nn::Module& module, Communicator& communicator, EngineOptions options)
    : impl_(std::make_unique<Impl>(internal::collect_tensors(module), communicator,
                                   std::move(options))) {}

Engine::~Engine() = default;

LogicalRange Engine::logical_ranks() const { return impl_->run(); }
const std::vector<MicroStep>& Engine::micro_steps() const { return impl_->micro_steps(); }
void Engine::begin_step() { impl_->begin_step(); }
void Engine::begin_micro_step(const MicroStep& micro) { impl_->begin_micro_step(micro); }
void Engine::backward(const at::Tensor& loss, double weight) { impl_->backward(loss, weight); }
StepReport Engine::finish_step(double learning_rate) { return impl_->finish_step(learning_rate); }
std::int64_t Engine::step() const { return impl_->step(); }
void Engine::set_step(std::int64_t step) { impl_->set_step(step); }
std::vector<StateTensor> Engine::state() { return impl_->state(); }
Communicator& Engine::communicator() { return impl_->communicator(); }
const EngineOptions& Engine::options() const { return impl_->options(); }

}  // namespace muster
