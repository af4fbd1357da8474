// The loops of LAMB (You et al. 2020, algorithm 2, the norm as it is), over pieces of parameters.
// Their bits are part of the numerics version (base/version.h).
#ifndef MUSTER_TRAINER_SRC_LAMB_KERNELS_H_
#define MUSTER_TRAINER_SRC_LAMB_KERNELS_H_

#include <cstdint>

#include "optimizer_kernels.h"

namespace muster::internal {

struct LambFactors : MomentFactors {
  using MomentFactors::MomentFactors;
  float epsilon = 0;
  float weight_decay = 0;
  float first_moment_scale = 1;   ///< 1 / (1 - beta1^t).
  float second_moment_scale = 1;  ///< 1 / sqrt(1 - beta2^t).
};

/// `step` counts from 1.
LambFactors lamb_factors(double beta1, double beta2, double epsilon, double weight_decay,
                         double gradient_scale, std::int64_t step);

/// Any cut of a range into calls gives the same bits.
void lamb_moments(const float* gradient, float* exp_avg, float* exp_avg_sq, std::int64_t numel,
                  const LambFactors& factors);

/// Squares summed over a piece, in an order fixed by `numel` alone.
struct LambSums {
  double parameter = 0;
  double direction = 0;  ///< Of the step before it is scaled: normalised moment + weight decay.
};
LambSums lamb_square_sums(const float* parameter, const float* exp_avg, const float* exp_avg_sq,
                          std::int64_t numel, const LambFactors& factors);

/// |parameter| / |direction|, or 1 where either is 0.
double lamb_trust_ratio(const LambSums& sums);

/// parameter -= step_size * direction; `step_size` is the learning rate times the trust ratio. Any
/// cut gives the same bits.
void lamb_apply(float* parameter, const float* exp_avg, const float* exp_avg_sq, std::int64_t numel,
                const LambFactors& factors, float step_size);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_LAMB_KERNELS_H_
