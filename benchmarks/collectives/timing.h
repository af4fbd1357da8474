// How often to run a case, and what to report of the times. Pure: durations in, numbers out.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_TIMING_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_TIMING_H_

#include <cstdint>
#include <vector>

namespace muster::bench {

/// A batch is timed as a whole, so that reading the clock does not count; its time divided by its
/// runs is one sample.
struct BatchPlan {
  std::int64_t runs_per_batch = 1;
  std::int64_t batches = 1;
};

/// For a case whose single run takes about `run_s`: batches of about 100 us (1 to 1,000 runs), and
/// as many as fill `budget_s`, at least 11 and at most 1,001. An odd number, so that a median is a
/// sample.
BatchPlan plan_batches(double run_s, double budget_s);

struct Timing {
  double median_s = 0;
  double p10_s = 0;
  double p90_s = 0;
};

/// Quantiles by nearest rank: of n sorted samples number ceil(q * n). At least one sample.
Timing summarize(std::vector<double> samples_s);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_TIMING_H_
