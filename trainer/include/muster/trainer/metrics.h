// Metrics that stay exact over any number of ranks and on ragged ends: sums and counts, divided
// once at the end.
#ifndef MUSTER_TRAINER_METRICS_H_
#define MUSTER_TRAINER_METRICS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "muster/trainer/confusion_matrix.h"
#include "muster/trainer/score_ranking.h"

namespace muster {

struct Metric {
  std::string name;
  double sum = 0;
  double count = 0;
  bool perplexity = false;
  double mean() const { return sum / count; }
  /// The mean, or e to the power of it.
  double value() const;
};

/// Metrics by name, in the order in which they were first added. A name stands for one kind of
/// metric: UserError for another.
class MetricSums {
 public:
  template <typename T>
  using Named = std::vector<std::pair<std::string, T>>;

  /// Adds `sum` over `count` samples (or tokens). Whole numbers below 2^53 stay exact.
  void add(const std::string& name, double sum, double count);
  /// e to the power of the mean of `mean_loss` (a mean of natural logarithms over `count` tokens).
  void add_perplexity(const std::string& name, double mean_loss, double count);

  // `scores` is [samples, classes] of floating point, `labels` [samples] of whole numbers in [0,
  // classes). UserError for other shapes and labels.
  /// Part of the samples whose largest score is their label's; of equal scores the first class's
  /// counts, as argmax has it.
  void add_accuracy(const std::string& name, const at::Tensor& scores, const at::Tensor& labels);
  /// Part of the samples for which fewer than `k` classes score higher than their label. A score of
  /// NaN is wrong.
  void add_top_k(const std::string& name, const at::Tensor& scores, const at::Tensor& labels,
                 std::int64_t k);
  /// Which class was taken for which, the class of the largest score being what is predicted.
  void add_confusion(const std::string& name, const at::Tensor& scores, const at::Tensor& labels);
  /// Exact area under the ROC curve. `scores` is [samples] of floating point (compared in float32),
  /// `labels` [samples]: 0 negative, else positive.
  void add_auroc(const std::string& name, const at::Tensor& scores, const at::Tensor& labels);

  const std::vector<Metric>& metrics() const { return metrics_; }
  const Named<ConfusionMatrix>& confusions() const { return confusions_; }
  const Named<ScoreRanking>& rankings() const { return rankings_; }
  Named<ConfusionMatrix>& confusions() { return confusions_; }
  Named<ScoreRanking>& rankings() { return rankings_; }
  /// The sums called `name`; made where there are none.
  Metric& metric(const std::string& name, bool perplexity);
  ConfusionMatrix& confusion(const std::string& name, std::int64_t classes);
  ScoreRanking& ranking(const std::string& name);

  /// Throws ConfigError listing the names when there is none called `name`.
  const Metric& operator[](const std::string& name) const;
  /// Every metric as one number: means and perplexities, areas, and of confusion matrices
  /// "NAME.accuracy" and "NAME.macro_f1".
  Named<double> values() const;

 private:
  void check_new(const std::string& name) const;

  std::vector<Metric> metrics_;
  Named<ConfusionMatrix> confusions_;
  Named<ScoreRanking> rankings_;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_METRICS_H_
