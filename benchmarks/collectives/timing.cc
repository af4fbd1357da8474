// Quantiles and counts.
#include "timing.h"

#include <algorithm>
#include <cmath>

#include "muster/base/check.h"

namespace muster::bench {
namespace {

constexpr double kBatchSeconds = 100e-6;
constexpr std::int64_t kMostRuns = 1000;
constexpr std::int64_t kFewestBatches = 11;
constexpr std::int64_t kMostBatches = 1001;

// Of a quotient that may be beyond any integer.
std::int64_t clamp_whole(double value, std::int64_t least, std::int64_t most) {
  if (!(value > static_cast<double>(least))) return least;
  return value < static_cast<double>(most) ? static_cast<std::int64_t>(value) : most;
}

}  // namespace

BatchPlan plan_batches(double run_s, double budget_s) {
  BatchPlan plan;
  plan.runs_per_batch = clamp_whole(std::ceil(kBatchSeconds / run_s), 1, kMostRuns);
  const double batch_s = run_s * static_cast<double>(plan.runs_per_batch);
  plan.batches = clamp_whole(budget_s / batch_s, kFewestBatches, kMostBatches) | 1;
  return plan;
}

Timing summarize(std::vector<double> samples_s) {
  MUSTER_CHECK(!samples_s.empty());
  std::sort(samples_s.begin(), samples_s.end());
  const auto quantile = [&](double q) {
    const double place = std::ceil(q * static_cast<double>(samples_s.size()));
    return samples_s[static_cast<std::size_t>(std::max(1.0, place)) - 1];
  };
  return {quantile(0.5), quantile(0.1), quantile(0.9)};
}

}  // namespace muster::bench
