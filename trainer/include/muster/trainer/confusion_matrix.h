// Which class was taken for which, and what follows from it.
#ifndef MUSTER_TRAINER_CONFUSION_MATRIX_H_
#define MUSTER_TRAINER_CONFUSION_MATRIX_H_

#include <cstdint>
#include <vector>

namespace muster {

/// Counts of samples by true and predicted class; exact below 2^53.
class ConfusionMatrix {
 public:
  /// `classes` is 1 or more.
  explicit ConfusionMatrix(std::int64_t classes);

  std::int64_t classes() const { return classes_; }
  /// Both are in [0, classes()).
  void add(std::int64_t label, std::int64_t predicted, double count = 1);
  double count(std::int64_t label, std::int64_t predicted) const;
  /// By rows of true classes: [classes * classes].
  const std::vector<double>& counts() const { return counts_; }

  /// Part of all samples on the diagonal.
  double accuracy() const;
  /// Part of what was predicted as `c` that is; 0 where nothing was.
  double precision(std::int64_t c) const;
  /// Part of what is `c` that was predicted so; 0 where nothing is.
  double recall(std::int64_t c) const;
  /// 2 precision recall / (precision + recall); 0 where both are.
  double f1(std::int64_t c) const;
  /// The mean of f1() over all classes.
  double macro_f1() const;

 private:
  double predicted_as(std::int64_t c) const;
  double labelled(std::int64_t c) const;

  std::int64_t classes_;
  std::vector<double> counts_;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_CONFUSION_MATRIX_H_
