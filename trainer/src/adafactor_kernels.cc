// Compiled with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math: the same bits for any cut
// and instruction set. The anchors need that: (x + anchor) - anchor must stay as it is written.
#include "adafactor_kernels.h"

#include <cmath>

#include "flat_layout.h"
#include "lanes.h"
#include "muster/base/target_clones.h"

namespace muster::internal {
namespace {

inline __attribute__((always_inline)) double sum(const double* values, std::int64_t numel) {
  double lanes[kLanes] = {};
  const std::int64_t whole = numel / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += values[i + lane];
  }
  for (std::int64_t i = whole; i < numel; ++i) lanes[i - whole] += values[i];
  return fold(lanes);
}

inline __attribute__((always_inline)) void updates(const float* gradient, std::int64_t numel,
                                                   const AdafactorRow& r, float* result) {
  for (std::int64_t i = 0; i < numel; ++i) {
    const float variance = r.row * r.column[i];
    const float bounded = variance < r.floor ? r.floor : variance;
    result[i] = gradient[i] * r.scale / std::sqrt(bounded);
  }
}

}  // namespace

// With x below 2^e and all squares together below 2^e too, the unit 2^(e - 51) leaves room for the
// roundings of 2^52 of them; each leaves at most half a unit, of which 2^30 fit into 2^52 units of
// 2^-22 of the first. An anchor of 1.5 * 2^52 units has the unit as its last bit.
SquareSplit square_split(double gradient_norm) {
  // Scaled gradients are rounded to float32, which may lift them above the norm.
  const double bound = gradient_norm * (1.0 + 0x1p-20);
  int e = 0;
  std::frexp(bound * bound, &e);
  const double anchor = std::ldexp(1.5, e - 51 + 52);
  return {anchor, anchor * 0x1p-22};
}

MUSTER_TARGET_CLONES
void add_squares(const float* gradient, std::int64_t numel, float scale, const SquareSplit& split,
                 ExactSum& row, double* column_high, double* column_low) {
  double high[kBlockNumel];
  double low[kBlockNumel];
  const SquareSplit s = split;
  for (std::int64_t i = 0; i < numel; ++i) {
    const auto g = static_cast<double>(gradient[i] * scale);
    const double square = g * g;
    high[i] = (square + s.high_anchor) - s.high_anchor;
    low[i] = ((square - high[i]) + s.low_anchor) - s.low_anchor;
  }
  row.high += sum(high, numel);
  row.low += sum(low, numel);
  for (std::int64_t i = 0; i < numel; ++i) {
    column_high[i] += high[i];
    column_low[i] += low[i];
  }
}

MUSTER_TARGET_CLONES
double adafactor_square_sum(const float* gradient, std::int64_t numel, const AdafactorRow& row) {
  float update[kBlockNumel];
  double squares[kBlockNumel];
  updates(gradient, numel, row, update);
  for (std::int64_t i = 0; i < numel; ++i) {
    const auto u = static_cast<double>(update[i]);
    squares[i] = u * u;
  }
  return sum(squares, numel);
}

MUSTER_TARGET_CLONES
void adafactor_apply(float* __restrict parameter, const float* __restrict gradient,
                     std::int64_t numel, const AdafactorRow& row, float decay, float step_size) {
  float update[kBlockNumel];
  updates(gradient, numel, row, update);
  for (std::int64_t i = 0; i < numel; ++i)
    parameter[i] = parameter[i] * decay - step_size * update[i];
}

}  // namespace muster::internal
