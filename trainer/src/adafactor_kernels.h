// The loops of Adafactor (Shazeer and Stern 2018; as torch.optim.Adafactor), over stretches of
// rows. Their bits are part of the numerics version (base/version.h).
//
// Its row and column sums run across every shard, and partial sums of columns would be as many as
// the gradients. So they are made exact instead: each square is split into two parts that are
// whole multiples of one unit each, chosen from the gradient's global norm so that no sum of them
// needs more than 53 bits (Demmel and Nguyen 2013). Additions without rounding give the same bits
// in any order, for any cut, and a plain all_reduce may finish them. What is lost is what lies
// below 2^-73 of the squared global norm.
#ifndef MUSTER_TRAINER_SRC_ADAFACTOR_KERNELS_H_
#define MUSTER_TRAINER_SRC_ADAFACTOR_KERNELS_H_

#include <cstdint>

namespace muster::internal {

/// Adding and subtracting an anchor rounds to its unit.
struct SquareSplit {
  double high_anchor = 0;
  double low_anchor = 0;
};

/// `gradient_norm` is that of all gradients that will be squared, as they come out of the scaling;
/// good for 2^30 squares in a sum.
SquareSplit square_split(double gradient_norm);

/// Sums of both parts; high + low is the sum.
struct ExactSum {
  double high = 0;
  double low = 0;
};

/// Adds the squares of `numel` (at most 1,024) gradients times `scale`, neighbours in one row, to
/// the row's sum and each to its column's.
void add_squares(const float* gradient, std::int64_t numel, float scale, const SquareSplit& split,
                 ExactSum& row, double* column_high, double* column_low);

/// How neighbours in one row become an update: gradient * scale / sqrt(max(row * column, floor)).
struct AdafactorRow {
  float scale = 1;
  float row = 1;
  float floor = 0;
  const float* column = nullptr;  ///< Of the stretch's first element.
};

/// Sum of squares of the updates of a stretch, in an order fixed by `numel` alone.
double adafactor_square_sum(const float* gradient, std::int64_t numel, const AdafactorRow& row);

/// parameter = parameter * decay - step_size * update. Any cut gives the same bits.
void adafactor_apply(float* parameter, const float* gradient, std::int64_t numel,
                     const AdafactorRow& row, float decay, float step_size);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ADAFACTOR_KERNELS_H_
