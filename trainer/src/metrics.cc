// Named sums.
#include "muster/trainer/metrics.h"

#include <algorithm>

#include "muster/base/error.h"

namespace muster {

void MetricSums::add(const std::string& name, double sum, double count) {
  const auto it = std::find_if(metrics_.begin(), metrics_.end(),
                               [&](const Metric& m) { return m.name == name; });
  Metric& metric = it == metrics_.end() ? metrics_.emplace_back(Metric{name, 0, 0}) : *it;
  metric.sum += sum;
  metric.count += count;
}

const Metric& MetricSums::operator[](const std::string& name) const {
  std::string names;
  for (const Metric& metric : metrics_) {
    if (metric.name == name) return metric;
    names += (names.empty() ? "" : ", ") + metric.name;
  }
  throw ConfigError("metric: expected one of (" + names + "), found '" + name + "'");
}

}  // namespace muster
