// Counts and their quotients.
#include "muster/trainer/confusion_matrix.h"

#include "muster/base/check.h"

namespace muster {
namespace {

double quotient(double part, double whole) { return whole == 0 ? 0 : part / whole; }

}  // namespace

ConfusionMatrix::ConfusionMatrix(std::int64_t classes)
    : classes_(classes), counts_(static_cast<std::size_t>(classes * classes)) {}

void ConfusionMatrix::add(std::int64_t label, std::int64_t predicted, double count) {
  MUSTER_CHECK(label >= 0 && label < classes_ && predicted >= 0 && predicted < classes_);
  counts_[static_cast<std::size_t>(label * classes_ + predicted)] += count;
}

double ConfusionMatrix::count(std::int64_t label, std::int64_t predicted) const {
  return counts_[static_cast<std::size_t>(label * classes_ + predicted)];
}

double ConfusionMatrix::predicted_as(std::int64_t c) const {
  double sum = 0;
  for (std::int64_t label = 0; label < classes_; ++label) sum += count(label, c);
  return sum;
}

double ConfusionMatrix::labelled(std::int64_t c) const {
  double sum = 0;
  for (std::int64_t predicted = 0; predicted < classes_; ++predicted) sum += count(c, predicted);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  double right = 0, all = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    right += count(c, c);
    all += labelled(c);
  }
  return quotient(right, all);
}

double ConfusionMatrix::precision(std::int64_t c) const {
  return quotient(count(c, c), predicted_as(c));
}

double ConfusionMatrix::recall(std::int64_t c) const { return quotient(count(c, c), labelled(c)); }

// In counts, which is one rounding: 2 tp / (2 tp + fp + fn).
double ConfusionMatrix::f1(std::int64_t c) const {
  return quotient(2 * count(c, c), predicted_as(c) + labelled(c));
}

double ConfusionMatrix::macro_f1() const {
  double sum = 0;
  for (std::int64_t c = 0; c < classes_; ++c) sum += f1(c);
  return sum / static_cast<double>(classes_);
}

}  // namespace muster
