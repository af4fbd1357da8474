// The fused loops against torch::optim, and against themselves under other cuts.
#include "optimizer_kernels.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "flat_layout.h"
#include "weight_average.h"

namespace muster::internal {
namespace {

constexpr std::int64_t kNumel = 1000;
constexpr int kSteps = 20;

float* data(torch::Tensor& tensor) { return tensor.mutable_data_ptr<float>(); }

/// Both sides compute in float32 with at most a dozen roundings a step on values of order one: 20
/// steps stay within 20 * 12 * 2^-24 = 1.4e-5.
constexpr double kTolerance = 2e-5;

torch::Tensor gradient_of_step(int step) {
  torch::manual_seed(100 + step);
  return torch::randn({kNumel});
}

template <typename Optimizer>
torch::Tensor run_torch(torch::Tensor parameter, Optimizer& optimizer) {
  for (int step = 1; step <= kSteps; ++step) {
    parameter.mutable_grad() = gradient_of_step(step);
    optimizer.step();
  }
  return parameter.detach();
}

torch::Tensor initial() {
  torch::manual_seed(1);
  return torch::randn({kNumel});
}

TEST(OptimizerKernels, AdamWFollowsTorch) {
  torch::Tensor expected = initial().requires_grad_();
  torch::optim::AdamW optimizer(
      {expected}, torch::optim::AdamWOptions(0.01).betas({0.8, 0.95}).eps(1e-6).weight_decay(0.1));
  run_torch(expected, optimizer);

  torch::Tensor parameter = initial(), m = torch::zeros({kNumel}), v = torch::zeros({kNumel});
  for (int step = 1; step <= kSteps; ++step) {
    torch::Tensor gradient = gradient_of_step(step) * 4;
    adamw_update(data(parameter), data(gradient), data(m), data(v), kNumel,
                 adamw_factors(0.01, 0.8, 0.95, 1e-6, 0.1, 0.25, step));
  }
  EXPECT_LT((parameter - expected).abs().max().item<double>(), kTolerance);
  EXPECT_GT((parameter - initial()).abs().max().item<double>(), 0.05);
}

class SgdAgainstTorch : public testing::TestWithParam<std::pair<double, bool>> {};

TEST_P(SgdAgainstTorch, Follows) {
  const auto [momentum, nesterov] = GetParam();
  torch::Tensor expected = initial().requires_grad_();
  torch::optim::SGD optimizer(
      {expected},
      torch::optim::SGDOptions(0.01).momentum(momentum).nesterov(nesterov).weight_decay(0.1));
  run_torch(expected, optimizer);

  torch::Tensor parameter = initial(), buffer = torch::zeros({kNumel});
  SgdFactors factors;
  factors.gradient_scale = 0.5f;
  factors.weight_decay = 0.1f;
  factors.momentum = static_cast<float>(momentum);
  factors.learning_rate = 0.01f;
  factors.nesterov = nesterov;
  for (int step = 1; step <= kSteps; ++step) {
    torch::Tensor gradient = gradient_of_step(step) * 2;
    sgd_update(data(parameter), data(gradient), momentum == 0 ? nullptr : data(buffer), kNumel,
               factors);
  }
  EXPECT_LT((parameter - expected).abs().max().item<double>(), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Forms, SgdAgainstTorch,
                         testing::Values(std::pair(0.0, false), std::pair(0.9, false),
                                         std::pair(0.9, true)));

TEST(OptimizerKernels, AnyCutGivesTheSameBits) {
  torch::manual_seed(7);
  const torch::Tensor start = torch::randn({kNumel}), gradient = torch::randn({kNumel});
  const auto run = [&](const std::vector<std::int64_t>& cuts) {
    torch::Tensor p = start.clone(), g = gradient.clone(), m = start * 0.1, v = start.abs();
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      const std::int64_t at = cuts[i];
      adamw_update(data(p) + at, data(g) + at, data(m) + at, data(v) + at, cuts[i + 1] - at,
                   adamw_factors(0.01, 0.9, 0.999, 1e-8, 0.1, 0.3, 3));
    }
    return p;
  };
  const torch::Tensor whole = run({0, kNumel});
  for (std::int64_t cut = 1; cut < 70; ++cut) {
    EXPECT_TRUE(torch::equal(whole, run({0, cut, 2 * cut + 1, kNumel}))) << "cut at " << cut;
  }
}

TEST(OptimizerKernels, BlockSumsAreExactOnExactInputs) {
  std::vector<float> values(2 * kBlockNumel, 3.0f);
  values[5] = 4.0f;
  std::vector<double> sums(2);
  block_square_sums(values.data(), 2 * kBlockNumel, sums.data());
  EXPECT_EQ(sums[0], 9.0 * (kBlockNumel - 1) + 16.0);
  EXPECT_EQ(sums[1], 9.0 * kBlockNumel);
}

TEST(OptimizerKernels, SquareSumsTakeAnyLength) {
  for (const std::int64_t numel : {0, 1, 15, 16, 17, 1000}) {
    const std::vector<float> values(static_cast<std::size_t>(numel), 3.0f);
    EXPECT_EQ(square_sum(values.data(), numel), 9.0 * static_cast<double>(numel));
  }
}

TEST(OptimizerKernels, ValuesAreScaledThenClamped) {
  std::vector<float> values = {1, -8, 3, 100, std::nanf("")};
  scale_and_clamp(values.data(), 5, 0.5f, 2.0f);
  EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + 4),
            (std::vector<float>{0.5f, -2.0f, 1.5f, 2.0f}));
  EXPECT_TRUE(std::isnan(values[4]));
}

TEST(OptimizerKernels, TheAverageOfWeightsIsThatOfItsFormula) {
  EXPECT_EQ(newest_weight(0.9, false, 1), 1.0);
  EXPECT_EQ(newest_weight(0.9, false, 2), 1.0 - 0.9);
  EXPECT_EQ(newest_weight(0.9, true, 2), 1.0 - 3.0 / 12.0);
  EXPECT_EQ(newest_weight(0.9, true, 1000), 1.0 - 0.9);
  std::vector<float> average = {1, 2};
  const std::vector<float> newest = {3, -2};
  move_average(average.data(), newest.data(), 2, 0.25f);
  EXPECT_EQ(average, (std::vector<float>{1.5f, 1.0f}));
}

TEST(OptimizerKernels, TreeSumSplitsAtThePowerOfTwo) {
  const double huge = 1e16;
  // ((a + b) + (c + d)) + e: an order from left to right would lose both ones.
  const std::vector<double> values = {1.0, 1.0, huge, -huge, 0.5};
  EXPECT_EQ(tree_sum(values.data(), 5), 2.5);
  EXPECT_EQ(tree_sum(values.data(), 0), 0.0);
}

}  // namespace
}  // namespace muster::internal
