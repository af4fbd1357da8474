// Compiled with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math: the same bits for any cut
// and instruction set.
#include "lamb_kernels.h"

#include <cmath>

#include "lanes.h"
#include "muster/base/target_clones.h"

namespace muster::internal {
namespace {

// Worked out anew wherever it is needed: two reads are cheaper than a flat array to keep it in.
inline __attribute__((always_inline)) float direction(float parameter, float m, float v,
                                                      const LambFactors& f) {
  const float denominator = std::sqrt(v) * f.second_moment_scale + f.epsilon;
  return m * f.first_moment_scale / denominator + f.weight_decay * parameter;
}

}  // namespace

LambFactors lamb_factors(double beta1, double beta2, double epsilon, double weight_decay,
                         double gradient_scale, std::int64_t step) {
  const auto t = static_cast<double>(step);
  LambFactors factors(gradient_scale, beta1, beta2);
  factors.epsilon = static_cast<float>(epsilon);
  factors.weight_decay = static_cast<float>(weight_decay);
  factors.first_moment_scale = static_cast<float>(1.0 / (1.0 - std::pow(beta1, t)));
  factors.second_moment_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
  return factors;
}

MUSTER_TARGET_CLONES
void lamb_moments(const float* __restrict gradient, float* __restrict exp_avg,
                  float* __restrict exp_avg_sq, std::int64_t numel, const LambFactors& factors) {
  const LambFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    const float g = gradient[i] * f.gradient_scale;
    exp_avg[i] = f.beta1 * exp_avg[i] + f.one_minus_beta1 * g;
    exp_avg_sq[i] = f.beta2 * exp_avg_sq[i] + f.one_minus_beta2 * (g * g);
  }
}

MUSTER_TARGET_CLONES
LambSums lamb_square_sums(const float* parameter, const float* exp_avg, const float* exp_avg_sq,
                          std::int64_t numel, const LambFactors& factors) {
  const LambFactors f = factors;
  double p_lanes[kLanes] = {};
  double r_lanes[kLanes] = {};
  const std::int64_t whole = numel / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto p = static_cast<double>(parameter[i + lane]);
      const auto r = static_cast<double>(
          direction(parameter[i + lane], exp_avg[i + lane], exp_avg_sq[i + lane], f));
      p_lanes[lane] += p * p;
      r_lanes[lane] += r * r;
    }
  }
  for (std::int64_t i = whole; i < numel; ++i) {
    const auto p = static_cast<double>(parameter[i]);
    const auto r = static_cast<double>(direction(parameter[i], exp_avg[i], exp_avg_sq[i], f));
    p_lanes[i - whole] += p * p;
    r_lanes[i - whole] += r * r;
  }
  return {fold(p_lanes), fold(r_lanes)};
}

double lamb_trust_ratio(const LambSums& sums) {
  if (sums.parameter == 0 || sums.direction == 0) return 1.0;
  return std::sqrt(sums.parameter) / std::sqrt(sums.direction);
}

MUSTER_TARGET_CLONES
void lamb_apply(float* __restrict parameter, const float* __restrict exp_avg,
                const float* __restrict exp_avg_sq, std::int64_t numel, const LambFactors& factors,
                float step_size) {
  const LambFactors f = factors;
  for (std::int64_t i = 0; i < numel; ++i) {
    parameter[i] -= step_size * direction(parameter[i], exp_avg[i], exp_avg_sq[i], f);
  }
}

}  // namespace muster::internal
