// Evaluation.
#include "evaluation.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>
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

}  // namespace

MetricSums evaluate(Trainer& trainer, const Dataset& dataset, Communicator& communicator,
                    int logical_ranks, std::int64_t batch) {
  at::NoGradGuard no_grad;
  const LogicalRange run = assign_logical_ranks(
      logical_ranks, communicator.world_size())[static_cast<std::size_t>(communicator.rank())];
  const std::int64_t samples = dataset.size();
  std::vector<MetricSums> leaves;
  for (int l = run.begin; l < run.end; ++l) {
    seed_default_generators(stream_seed(0, StreamPurpose::kEvaluation, 0, l), trainer.device());
    leaves.push_back(evaluate_range(trainer, dataset, first_sample(samples, l, logical_ranks),
                                    first_sample(samples, l + 1, logical_ranks), batch));
  }
  return join_metrics(communicator, logical_ranks, run, leaves);
}

}  // namespace muster::internal
