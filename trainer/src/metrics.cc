// Named sums.
#include "muster/trainer/metrics.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "muster/base/error.h"

namespace muster {
namespace {

template <typename T>
T* find(MetricSums::Named<T>& all, const std::string& name) {
  const auto it =
      std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.first == name; });
  return it == all.end() ? nullptr : &it->second;
}

std::string shape_of(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.sizes() << " of " << tensor.scalar_type();
  return text.str();
}

void check_labels(const std::string& name, const at::Tensor& labels, std::int64_t samples) {
  if (labels.dim() == 1 && labels.size(0) == samples &&
      c10::isIntegralType(labels.scalar_type(), /*includeBool=*/true))
    return;
  throw UserError("metric '" + name + "': expected labels [" + std::to_string(samples) +
                  "] of whole numbers, found " + shape_of(labels) + "; give one label a sample");
}

void check_scores(const std::string& name, const at::Tensor& scores, std::int64_t dimensions) {
  if (scores.dim() == dimensions && scores.is_floating_point()) return;
  throw UserError("metric '" + name + "': expected scores " +
                  (dimensions == 2 ? "[samples, classes]" : "[samples]") +
                  " of floating point, found " + shape_of(scores) + "; give one score a sample" +
                  (dimensions == 2 ? " and class" : ""));
}

/// Labels as int64, all of them classes, where the scores are.
at::Tensor checked_classes(const std::string& name, const at::Tensor& scores,
                           const at::Tensor& labels) {
  check_scores(name, scores, 2);
  check_labels(name, labels, scores.size(0));
  const at::Tensor wide = labels.to(at::kCPU, at::kLong).contiguous();
  const auto* values = wide.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < wide.numel(); ++i) {
    if (values[i] >= 0 && values[i] < scores.size(1)) continue;
    throw UserError("metric '" + name + "': expected labels from 0 to " +
                    std::to_string(scores.size(1) - 1) + ", found " + std::to_string(values[i]) +
                    "; leave samples without a class out");
  }
  return wide.to(scores.device());
}

}  // namespace

double Metric::value() const { return perplexity ? std::exp(mean()) : mean(); }

void MetricSums::check_new(const std::string& name) const {
  bool taken = false;
  for (const Metric& metric : metrics_) taken = taken || metric.name == name;
  for (const auto& [other, matrix] : confusions_) taken = taken || other == name;
  for (const auto& [other, ranking] : rankings_) taken = taken || other == name;
  if (!taken) return;
  throw UserError("metric '" + name +
                  "': expected the kind that was added first under this name, found another; give "
                  "it a name of its own");
}

Metric& MetricSums::metric(const std::string& name, bool perplexity) {
  for (Metric& metric : metrics_) {
    if (metric.name == name && metric.perplexity == perplexity) return metric;
  }
  check_new(name);
  return metrics_.emplace_back(Metric{name, 0, 0, perplexity});
}

ConfusionMatrix& MetricSums::confusion(const std::string& name, std::int64_t classes) {
  ConfusionMatrix* known = find(confusions_, name);
  if (known != nullptr && known->classes() == classes) return *known;
  check_new(name);
  return confusions_.emplace_back(name, ConfusionMatrix(classes)).second;
}

ScoreRanking& MetricSums::ranking(const std::string& name) {
  if (ScoreRanking* known = find(rankings_, name)) return *known;
  check_new(name);
  return rankings_.emplace_back(name, ScoreRanking()).second;
}

void MetricSums::add(const std::string& name, double sum, double count) {
  Metric& sums = metric(name, /*perplexity=*/false);
  sums.sum += sum;
  sums.count += count;
}

void MetricSums::add_perplexity(const std::string& name, double mean_loss, double count) {
  Metric& sums = metric(name, /*perplexity=*/true);
  sums.sum += mean_loss * count;
  sums.count += count;
}

void MetricSums::add_accuracy(const std::string& name, const at::Tensor& scores,
                              const at::Tensor& labels) {
  const at::Tensor classes = checked_classes(name, scores, labels);
  const auto right = scores.argmax(1).eq(classes).sum().item<std::int64_t>();
  add(name, static_cast<double>(right), static_cast<double>(classes.numel()));
}

void MetricSums::add_top_k(const std::string& name, const at::Tensor& scores,
                           const at::Tensor& labels, std::int64_t k) {
  const at::Tensor classes = checked_classes(name, scores, labels);
  const at::Tensor own = scores.gather(1, classes.unsqueeze(1));  // [samples, 1]
  const at::Tensor higher = scores.gt(own).sum(1);
  const auto right = higher.lt(k).logical_and(own.eq(own).squeeze(1)).sum().item<std::int64_t>();
  add(name, static_cast<double>(right), static_cast<double>(classes.numel()));
}

void MetricSums::add_confusion(const std::string& name, const at::Tensor& scores,
                               const at::Tensor& labels) {
  const at::Tensor classes = checked_classes(name, scores, labels);
  ConfusionMatrix& matrix = confusion(name, scores.size(1));
  if (classes.numel() == 0) return;
  const at::Tensor actual = classes.cpu();
  const at::Tensor predicted = scores.argmax(1).cpu().contiguous();
  for (std::int64_t i = 0; i < actual.numel(); ++i) {
    matrix.add(actual.const_data_ptr<std::int64_t>()[i],
               predicted.const_data_ptr<std::int64_t>()[i]);
  }
}

void MetricSums::add_auroc(const std::string& name, const at::Tensor& scores,
                           const at::Tensor& labels) {
  check_scores(name, scores, 1);
  check_labels(name, labels, scores.size(0));
  ScoreRanking& all = ranking(name);
  const at::Tensor values = scores.to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor positive = labels.to(at::kCPU, at::kLong).contiguous();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    all.add(values.const_data_ptr<float>()[i], positive.const_data_ptr<std::int64_t>()[i] != 0);
  }
}

const Metric& MetricSums::operator[](const std::string& name) const {
  std::string names;
  for (const Metric& metric : metrics_) {
    if (metric.name == name) return metric;
    names += (names.empty() ? "" : ", ") + metric.name;
  }
  throw ConfigError("metric: expected one of (" + names + "), found '" + name + "'");
}

MetricSums::Named<double> MetricSums::values() const {
  Named<double> values;
  for (const Metric& metric : metrics_) values.emplace_back(metric.name, metric.value());
  for (const auto& [name, ranking] : rankings_) values.emplace_back(name, ranking.auroc());
  for (const auto& [name, matrix] : confusions_) {
    values.emplace_back(name + ".accuracy", matrix.accuracy());
    values.emplace_back(name + ".macro_f1", matrix.macro_f1());
  }
  return values;
}

}  // namespace muster
