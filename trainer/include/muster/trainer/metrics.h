// Metrics that stay exact over any number of ranks: sums and counts, divided once at the end.
#ifndef MUSTER_TRAINER_METRICS_H_
#define MUSTER_TRAINER_METRICS_H_

#include <string>
#include <vector>

namespace muster {

struct Metric {
  std::string name;
  double sum = 0;
  double count = 0;
  double mean() const { return sum / count; }
};

/// Metrics by name, in the order in which they were first added.
class MetricSums {
 public:
  /// Adds `sum` over `count` samples (or tokens). Whole numbers below 2^53 stay exact.
  void add(const std::string& name, double sum, double count);
  const std::vector<Metric>& metrics() const { return metrics_; }
  /// Throws ConfigError listing the names when there is none called `name`.
  const Metric& operator[](const std::string& name) const;

 private:
  std::vector<Metric> metrics_;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_METRICS_H_
