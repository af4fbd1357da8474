// Compiled with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math: the same bits for any cut
// and instruction set.
#include "optimizer_kernels.h"

#include <cmath>

#include "flat_layout.h"
#include "lanes.h"
#include "muster/base/target_clones.h"

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

// The update of Loshchilov and Hutter 2019, algorithm 2, with the bias corrections folded into two
// factors; one division and one root an element, which is what bounds it.
MUSTER_TARGET_CLONES
void adamw_update(float* __restrict parameter, const float* __restrict gradient,
                  float* __restrict exp_avg, float* __restrict exp_avg_sq, std::int64_t numel,
                  const AdamWFactors& factors) {
  const AdamWFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    const float g = gradient[i] * f.gradient_scale;
    const float m = f.beta1 * exp_avg[i] + f.one_minus_beta1 * g;
    const float v = f.beta2 * exp_avg_sq[i] + f.one_minus_beta2 * (g * g);
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    const float denominator = std::sqrt(v) * f.second_moment_scale + f.epsilon;
    parameter[i] = parameter[i] * f.decay - f.step_size * m / denominator;
  }
}

MUSTER_TARGET_CLONES
void adam_update(float* __restrict parameter, const float* __restrict gradient,
                 float* __restrict exp_avg, float* __restrict exp_avg_sq, std::int64_t numel,
                 const AdamWFactors& factors, float weight_decay) {
  const AdamWFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    const float g = gradient[i] * f.gradient_scale + weight_decay * parameter[i];
    const float m = f.beta1 * exp_avg[i] + f.one_minus_beta1 * g;
    const float v = f.beta2 * exp_avg_sq[i] + f.one_minus_beta2 * (g * g);
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    const float denominator = std::sqrt(v) * f.second_moment_scale + f.epsilon;
    parameter[i] -= f.step_size * m / denominator;
  }
}

MUSTER_TARGET_CLONES
void lion_update(float* __restrict parameter, const float* __restrict gradient,
                 float* __restrict momentum, std::int64_t numel, const LionFactors& factors) {
  const LionFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    const float g = gradient[i] * f.gradient_scale;
    const float m = momentum[i];
    const float direction = f.beta1 * m + f.one_minus_beta1 * g;
    const float sign = static_cast<float>(direction > 0) - static_cast<float>(direction < 0);
    momentum[i] = f.beta2 * m + f.one_minus_beta2 * g;
    parameter[i] = parameter[i] * f.decay - f.learning_rate * sign;
  }
}

MUSTER_TARGET_CLONES
static void sgd_plain(float* __restrict parameter, const float* __restrict gradient,
                      std::int64_t numel, const SgdFactors& factors) {
  const SgdFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    const float g = gradient[i] * f.gradient_scale + f.weight_decay * parameter[i];
    parameter[i] -= f.learning_rate * g;
  }
}

MUSTER_TARGET_CLONES
static void sgd_momentum(float* __restrict parameter, const float* __restrict gradient,
                         float* __restrict momentum_buffer, std::int64_t numel,
                         const SgdFactors& factors) {
  const SgdFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    const float g = gradient[i] * f.gradient_scale + f.weight_decay * parameter[i];
    const float b = f.momentum * momentum_buffer[i] + f.gradient_weight * g;
    momentum_buffer[i] = b;
    const float direction = f.nesterov ? g + f.momentum * b : b;
    parameter[i] -= f.learning_rate * direction;
  }
}

void sgd_update(float* parameter, const float* gradient, float* momentum_buffer, std::int64_t numel,
                const SgdFactors& factors) {
  if (factors.momentum == 0) {
    sgd_plain(parameter, gradient, numel, factors);
  } else {
    sgd_momentum(parameter, gradient, momentum_buffer, numel, factors);
  }
}

// A value that is not a number stays one.
MUSTER_TARGET_CLONES
void scale_and_clamp(float* values, std::int64_t numel, float scale, float limit) {
  for (std::int64_t i = 0; i < numel; ++i) {
    const float value = values[i] * scale;
    const float low = value < -limit ? -limit : value;
    values[i] = low > limit ? limit : low;
  }
}

MUSTER_TARGET_CLONES
void move_average(float* __restrict average, const float* __restrict values, std::int64_t numel,
                  float weight) {
  for (std::int64_t i = 0; i < numel; ++i) average[i] += weight * (values[i] - average[i]);
}

MUSTER_TARGET_CLONES
double square_sum(const float* values, std::int64_t numel) {
  double lanes[kLanes] = {};
  const std::int64_t whole = numel / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(values[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (std::int64_t i = whole; i < numel; ++i) {
    const auto value = static_cast<double>(values[i]);
    lanes[i - whole] += value * value;
  }
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
        const auto value = static_cast<double>(x[i + lane]);
        lanes[lane] += value * value;
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
