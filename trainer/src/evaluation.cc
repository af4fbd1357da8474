// Evaluation.
#include "evaluation.h"

#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "metric_exchange.h"
#include "seeding.h"
#include "training_parts.h"

namespace muster::internal {
namespace {

/// Rounded up, so that logical rank 0, whose metric names count, has a sample whenever there is
/// one.
std::int64_t first_sample(std::int64_t samples, int logical_rank, int logical_ranks) {
  return (samples * logical_rank + logical_ranks - 1) / logical_ranks;
}

MetricSums evaluate_range(Trainer& trainer, const Dataset& dataset, std::int64_t begin,
                          std::int64_t end, std::int64_t batch) {
  MetricSums sums;
  std::vector<std::int64_t> ids;
  for (std::int64_t at = begin; at < end; at += batch) {
    ids.resize(static_cast<std::size_t>(std::min(batch, end - at)));
    std::iota(ids.begin(), ids.end(), at);
    trainer.evaluate_batch(on_device(dataset.get(ids), trainer.device()), sums);
  }
  return sums;
}

/// A module in eval mode, which in the end is again as it was: modes of parts, and buffers.
class EvaluationScope {
 public:
  explicit EvaluationScope(torch::nn::Module& module) : buffers_(module.buffers()) {
    for (const auto& part : module.modules()) modes_.emplace_back(part, part->is_training());
    module.eval();
    for (const at::Tensor& buffer : buffers_) values_.push_back(buffer.detach().clone());
  }
  ~EvaluationScope() {
    restore_buffers();
    // Parts follow what they are parts of, which pass their own mode on.
    for (const auto& [part, training] : modes_) part->train(training);
  }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

  void restore_buffers() const {
    for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].variable_data().copy_(values_[i]);
  }

 private:
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> modes_;
  std::vector<at::Tensor> buffers_, values_;
};

}  // namespace

MetricSums evaluate(Trainer& trainer, torch::nn::Module& model, const Dataset& dataset,
                    Communicator& communicator, int logical_ranks, std::int64_t batch) {
  at::NoGradGuard no_grad;
  const EvaluationScope scope(model);
  const LogicalRange run = assign_logical_ranks(
      logical_ranks, communicator.world_size())[static_cast<std::size_t>(communicator.rank())];
  const std::int64_t samples = dataset.size();
  std::vector<MetricSums> leaves;
  for (int l = run.begin; l < run.end; ++l) {
    scope.restore_buffers();
    seed_default_generators(stream_seed(0, StreamPurpose::kEvaluation, 0, l), trainer.device());
    leaves.push_back(evaluate_range(trainer, dataset, first_sample(samples, l, logical_ranks),
                                    first_sample(samples, l + 1, logical_ranks), batch));
  }
  return join_metrics(communicator, logical_ranks, run, leaves);
}

}  // namespace muster::internal
