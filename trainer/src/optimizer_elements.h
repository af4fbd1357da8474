// What the loops of optimizer_kernels do to one element: one code for the CPU's vector loops and
// the GPU's kernels, and one set of bits, where neither contracts a product and a sum.
#ifndef MUSTER_TRAINER_SRC_OPTIMIZER_ELEMENTS_H_
#define MUSTER_TRAINER_SRC_OPTIMIZER_ELEMENTS_H_

#include <cmath>

#include "muster/base/host_device.h"
#include "optimizer_kernels.h"

// Inlined for every instruction set that a loop is compiled for.
#define MUSTER_ELEMENT MUSTER_HOST_DEVICE inline __attribute__((always_inline))

namespace muster::internal {

// The update of Loshchilov and Hutter 2019, algorithm 2, with the bias corrections folded into two
// factors; one division and one root an element, which is what bounds it.
MUSTER_ELEMENT void adamw_element(float& parameter, float gradient, float& exp_avg,
                                  float& exp_avg_sq, const AdamWFactors& f) {
  const float g = gradient * f.gradient_scale;
  const float m = f.beta1 * exp_avg + f.one_minus_beta1 * g;
  const float v = f.beta2 * exp_avg_sq + f.one_minus_beta2 * (g * g);
  exp_avg = m;
  exp_avg_sq = v;
  const float denominator = std::sqrt(v) * f.second_moment_scale + f.epsilon;
  parameter = parameter * f.decay - f.step_size * m / denominator;
}

MUSTER_ELEMENT void adam_element(float& parameter, float gradient, float& exp_avg,
                                 float& exp_avg_sq, const AdamWFactors& f, float weight_decay) {
  const float g = gradient * f.gradient_scale + weight_decay * parameter;
  const float m = f.beta1 * exp_avg + f.one_minus_beta1 * g;
  const float v = f.beta2 * exp_avg_sq + f.one_minus_beta2 * (g * g);
  exp_avg = m;
  exp_avg_sq = v;
  const float denominator = std::sqrt(v) * f.second_moment_scale + f.epsilon;
  parameter -= f.step_size * m / denominator;
}

MUSTER_ELEMENT void lion_element(float& parameter, float gradient, float& momentum,
                                 const LionFactors& f) {
  const float g = gradient * f.gradient_scale;
  const float m = momentum;
  const float direction = f.beta1 * m + f.one_minus_beta1 * g;
  const float sign = static_cast<float>(direction > 0) - static_cast<float>(direction < 0);
  momentum = f.beta2 * m + f.one_minus_beta2 * g;
  parameter = parameter * f.decay - f.learning_rate * sign;
}

MUSTER_ELEMENT void sgd_plain_element(float& parameter, float gradient, const SgdFactors& f) {
  const float g = gradient * f.gradient_scale + f.weight_decay * parameter;
  parameter -= f.learning_rate * g;
}

MUSTER_ELEMENT void sgd_momentum_element(float& parameter, float gradient, float& momentum_buffer,
                                         const SgdFactors& f) {
  const float g = gradient * f.gradient_scale + f.weight_decay * parameter;
  const float b = f.momentum * momentum_buffer + f.gradient_weight * g;
  momentum_buffer = b;
  const float direction = f.nesterov ? g + f.momentum * b : b;
  parameter -= f.learning_rate * direction;
}

// A value that is not a number stays one.
MUSTER_ELEMENT void clamp_element(float& element, float scale, float limit) {
  const float value = element * scale;
  const float low = value < -limit ? -limit : value;
  element = low > limit ? limit : low;
}

MUSTER_ELEMENT void average_element(float& average, float value, float weight) {
  average += weight * (value - average);
}

MUSTER_ELEMENT void square_element(double& sum, float element) {
  const auto value = static_cast<double>(element);
  sum += value * value;
}

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_OPTIMIZER_ELEMENTS_H_
