// Compiled with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math: the same bits for any cut
// and instruction set.
#include "optimizer_kernels.h"

#include <cmath>

#include "flat_layout.h"
#include "lanes.h"
#include "muster/base/target_clones.h"
#include "optimizer_elements.h"

namespace muster::internal {

MomentFactors::MomentFactors(double scale, double first_beta, double second_beta)
    : gradient_scale(static_cast<float>(scale)),
      beta1(static_cast<float>(first_beta)),
      one_minus_beta1(static_cast<float>(1.0 - first_beta)),
      beta2(static_cast<float>(second_beta)),
      one_minus_beta2(static_cast<float>(1.0 - second_beta)) {}

AdamWFactors adamw_factors(double learning_rate, double beta1, double beta2, double epsilon,
                           double weight_decay, double gradient_scale, std::int64_t step) {
  const auto t = static_cast<double>(step);
  AdamWFactors factors(gradient_scale, beta1, beta2);
  factors.epsilon = static_cast<float>(epsilon);
  factors.decay = static_cast<float>(1.0 - learning_rate * weight_decay);
  factors.step_size = static_cast<float>(learning_rate / (1.0 - std::pow(beta1, t)));
  factors.second_moment_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
  return factors;
}

LionFactors lion_factors(double learning_rate, double beta1, double beta2, double weight_decay,
                         double gradient_scale) {
  LionFactors factors(gradient_scale, beta1, beta2);
  factors.decay = static_cast<float>(1.0 - learning_rate * weight_decay);
  factors.learning_rate = static_cast<float>(learning_rate);
  return factors;
}

MUSTER_TARGET_CLONES
void adamw_update(float* __restrict parameter, const float* __restrict gradient,
                  float* __restrict exp_avg, float* __restrict exp_avg_sq, std::int64_t numel,
                  const AdamWFactors& factors) {
  const AdamWFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i)
    adamw_element(parameter[i], gradient[i], exp_avg[i], exp_avg_sq[i], f);
}

MUSTER_TARGET_CLONES
void adam_update(float* __restrict parameter, const float* __restrict gradient,
                 float* __restrict exp_avg, float* __restrict exp_avg_sq, std::int64_t numel,
                 const AdamWFactors& factors, float weight_decay) {
  const AdamWFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i)
    adam_element(parameter[i], gradient[i], exp_avg[i], exp_avg_sq[i], f, weight_decay);
}

MUSTER_TARGET_CLONES
void lion_update(float* __restrict parameter, const float* __restrict gradient,
                 float* __restrict momentum, std::int64_t numel, const LionFactors& factors) {
  const LionFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) lion_element(parameter[i], gradient[i], momentum[i], f);
}

MUSTER_TARGET_CLONES
static void sgd_plain(float* __restrict parameter, const float* __restrict gradient,
                      std::int64_t numel, const SgdFactors& factors) {
  const SgdFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) sgd_plain_element(parameter[i], gradient[i], f);
}

MUSTER_TARGET_CLONES
static void sgd_momentum(float* __restrict parameter, const float* __restrict gradient,
                         float* __restrict momentum_buffer, std::int64_t numel,
                         const SgdFactors& factors) {
  const SgdFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i)
    sgd_momentum_element(parameter[i], gradient[i], momentum_buffer[i], f);
}

void sgd_update(float* parameter, const float* gradient, float* momentum_buffer, std::int64_t numel,
                const SgdFactors& factors) {
  if (factors.momentum == 0) {
    sgd_plain(parameter, gradient, numel, factors);
  } else {
    sgd_momentum(parameter, gradient, momentum_buffer, numel, factors);
  }
}

MUSTER_TARGET_CLONES
void scale_and_clamp(float* values, std::int64_t numel, float scale, float limit) {
  for (std::int64_t i = 0; i < numel; ++i) clamp_element(values[i], scale, limit);
}

MUSTER_TARGET_CLONES
void move_average(float* __restrict average, const float* __restrict values, std::int64_t numel,
                  float weight) {
  for (std::int64_t i = 0; i < numel; ++i) average_element(average[i], values[i], weight);
}

MUSTER_TARGET_CLONES
double square_sum(const float* values, std::int64_t numel) {
  double lanes[kLanes] = {};
  const std::int64_t whole = numel / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      square_element(lanes[lane], values[i + lane]);
    }
  }
  for (std::int64_t i = whole; i < numel; ++i) square_element(lanes[i - whole], values[i]);
  return fold(lanes);
}

MUSTER_TARGET_CLONES
void block_square_sums(const float* __restrict values, std::int64_t numel,
                       double* __restrict sums) {
  for (std::int64_t block = 0; block * kBlockNumel < numel; ++block) {
    const float* x = values + block * kBlockNumel;
    double lanes[kLanes] = {};
    for (std::int64_t i = 0; i < kBlockNumel; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        square_element(lanes[lane], x[i + lane]);
      }
    }
    sums[block] = fold(lanes);
  }
}

double tree_sum(const double* values, std::int64_t count) {
  if (count == 0) return 0;
  if (count == 1) return values[0];
  std::int64_t half = 1;
  while (half * 2 < count) half *= 2;
  return tree_sum(values, half) + tree_sum(values + half, count - half);
}

}  // namespace muster::internal
