// Evaluation.
#include "evaluation.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "muster/base/error.h"
#include "seeding.h"
#include "text_exchange.h"
#include "tree_vector.h"

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
    trainer.evaluate_batch(dataset.get(ids), sums);
  }
  return sums;
}

std::string join_names(const MetricSums& sums) {
  std::string names;
  for (const Metric& metric : sums.metrics()) names += metric.name + "\n";
  return names;
}

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    names.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

/// Sums and counts in the order of `names`; zeros where this logical rank had no sample.
std::vector<double> to_vector(const MetricSums& sums, const std::vector<std::string>& names) {
  std::vector<double> values(names.size() * 2);
  for (const Metric& metric : sums.metrics()) {
    const auto it = std::find(names.begin(), names.end(), metric.name);
    if (it == names.end()) {
      throw Mismatch("evaluate_batch(): expected the metrics that rank 0 adds, found '" +
                     metric.name + "' on another rank only; add the same names for every batch");
    }
    const auto index = static_cast<std::size_t>(it - names.begin());
    values[2 * index] = metric.sum;
    values[2 * index + 1] = metric.count;
  }
  return values;
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
    seed_default_generator(stream_seed(0, StreamPurpose::kEvaluation, 0, l));
    leaves.push_back(evaluate_range(trainer, dataset, first_sample(samples, l, logical_ranks),
                                    first_sample(samples, l + 1, logical_ranks), batch));
  }
  const std::vector<std::string> names =
      split_names(broadcast_text(communicator, join_names(leaves.front())));
  TreeVector tree_vector(logical_ranks, run, names.size() * 2);
  for (const MetricSums& leaf : leaves) tree_vector.add_leaf(to_vector(leaf, names));
  MetricSums result;
  if (names.empty()) return result;
  tree_vector.reduce(communicator, ReductionTree(logical_ranks)).wait();
  const std::vector<double>& totals = tree_vector.sum();
  for (std::size_t i = 0; i < names.size(); ++i)
    result.add(names[i], totals[2 * i], totals[2 * i + 1]);
  return result;
}

}  // namespace muster::internal
