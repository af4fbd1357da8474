// Elements of every dtype as numbers: statistics, differences, and conversion of floats.
#ifndef MUSTER_CHECKPOINT_ELEMENTS_H_
#define MUSTER_CHECKPOINT_ELEMENTS_H_

#include <cstdint>

#include "muster/base/dtype.h"

namespace muster::checkpoint {

/// Of the finite elements; a bool is 0 or 1.
struct Statistics {
  std::int64_t finite = 0;
  std::int64_t not_finite = 0;  ///< NaN and infinities.
  // NaN where no element is finite.
  double minimum = 0;
  double maximum = 0;
  double mean = 0;
  /// Of the elements themselves: divided by their number. Infinite where a double cannot hold its
  /// square.
  double standard_deviation = 0;
};

/// Gathers statistics over a tensor given piece by piece. The cut into pieces may change the last
/// bits of mean and deviation, nothing else. One thread.
class StatisticsSum {
 public:
  /// Adds `numel` elements at `data`, which need not be aligned.
  void add(DType dtype, const void* data, std::int64_t numel);
  Statistics result() const;

 private:
  std::int64_t finite_ = 0;
  std::int64_t not_finite_ = 0;
  double minimum_ = 0;
  double maximum_ = 0;
  double mean_ = 0;
  double squares_ = 0;  // sum of (element - mean)^2
};

/// How far two tensors are apart, by the pairs of elements of which both are finite.
struct Distance {
  double absolute = 0;              ///< The largest |a - b|.
  double relative = 0;              ///< The largest |a - b| / max(|a|, |b|).
  std::int64_t not_comparable = 0;  ///< Pairs of other bits with a NaN or an infinity among them.

  /// Takes what is larger in `other`.
  void merge(const Distance& other);
};

/// Pairs of equal bits, NaNs and infinities included, are no distance apart.
Distance distance(DType dtype, const void* a, const void* b, std::int64_t numel);

/// Whether elements are floating-point numbers.
bool is_float(DType dtype);

/// Converts `numel` elements of one float type to another, rounding once, to the nearest, ties to
/// even; NaN stays NaN. Returns how many finite elements became infinite. `from` and `to` may not
/// overlap; neither need be aligned. Throws InternalError when either dtype is no float.
std::int64_t convert_floats(DType from_dtype, const void* from, DType to_dtype, void* to,
                            std::int64_t numel);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_ELEMENTS_H_
