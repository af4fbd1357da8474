// Vector loops over flat float32 ranges. Their bits are part of the numerics version
// (base/version.h).
#ifndef MUSTER_TRAINER_SRC_OPTIMIZER_KERNELS_H_
#define MUSTER_TRAINER_SRC_OPTIMIZER_KERNELS_H_

#include <cstdint>

namespace muster::internal {

/// What moving averages of gradients are made with. All factors are computed once in float64 and
/// rounded once.
struct MomentFactors {
  MomentFactors() = default;
  MomentFactors(double gradient_scale, double beta1, double beta2);

  float gradient_scale = 1;  ///< Turns the summed gradient into the clipped mean.
  float beta1 = 0, one_minus_beta1 = 0;
  float beta2 = 0, one_minus_beta2 = 0;
};

struct AdamWFactors : MomentFactors {
  using MomentFactors::MomentFactors;
  float epsilon = 0;
  float decay = 1;                ///< 1 - learning_rate * weight_decay.
  float step_size = 0;            ///< learning_rate / (1 - beta1^t).
  float second_moment_scale = 1;  ///< 1 / sqrt(1 - beta2^t).
};

/// `step` counts from 1.
AdamWFactors adamw_factors(double learning_rate, double beta1, double beta2, double epsilon,
                           double weight_decay, double gradient_scale, std::int64_t step);

/// All arrays hold `numel` elements and do not overlap. Any cut of a range into calls gives the
/// same bits.
void adamw_update(float* parameter, const float* gradient, float* exp_avg, float* exp_avg_sq,
                  std::int64_t numel, const AdamWFactors& factors);

/// As adamw_update(), but `weight_decay` is added to the gradient, as torch::optim::Adam does;
/// factors.decay is not used.
void adam_update(float* parameter, const float* gradient, float* exp_avg, float* exp_avg_sq,
                 std::int64_t numel, const AdamWFactors& factors, float weight_decay);

struct SgdFactors {
  float gradient_scale = 1;
  float weight_decay = 0;  ///< Added to the gradient, as torch::optim::SGD does.
  float momentum = 0;
  float gradient_weight = 1;  ///< 1 - dampening; 1 in the first step, as torch::optim::SGD has it.
  float learning_rate = 0;
  bool nesterov = false;
};

/// With momentum 0 `momentum_buffer` is not touched and may be null. A zero buffer is a fresh one.
void sgd_update(float* parameter, const float* gradient, float* momentum_buffer, std::int64_t numel,
                const SgdFactors& factors);

struct LionFactors : MomentFactors {
  using MomentFactors::MomentFactors;
  float decay = 1;  ///< 1 - learning_rate * weight_decay.
  float learning_rate = 0;
};

LionFactors lion_factors(double learning_rate, double beta1, double beta2, double weight_decay,
                         double gradient_scale);

/// The sign of the interpolated momentum (Chen et al. 2023, algorithm 2); sign(0) is 0.
void lion_update(float* parameter, const float* gradient, float* momentum, std::int64_t numel,
                 const LionFactors& factors);

/// values = clamp(values * scale, -limit, limit).
void scale_and_clamp(float* values, std::int64_t numel, float scale, float limit);

/// average += weight * (values - average).
void move_average(float* average, const float* values, std::int64_t numel, float weight);

/// Sum of squares in float64, in an order fixed by `numel` alone.
double square_sum(const float* values, std::int64_t numel);

/// sums[i] = sum of squares of block i, in float64, in an order fixed by the block alone. `numel`
/// is a multiple of kBlockNumel.
void block_square_sums(const float* values, std::int64_t numel, double* sums);

/// Sum of `count` values by the fixed binary tree (split at the largest power of two below the
/// count).
double tree_sum(const double* values, std::int64_t count);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_OPTIMIZER_KERNELS_H_
