// Autocast scopes nest and end; loss scales grow and fall back.
#include "muster/trainer/precision.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace muster {
namespace {

at::ScalarType product_dtype() {
  return torch::mm(torch::ones({2, 2}), torch::ones({2, 2})).scalar_type();
}

TEST(Precision, AutocastHoldsForItsScope) {
  EXPECT_EQ(product_dtype(), at::kFloat);
  {
    const Autocast outer(Precision::kBFloat16Mixed);
    EXPECT_EQ(product_dtype(), at::kBFloat16);
    {
      const Autocast inner(Precision::kFloat16Mixed);
      EXPECT_EQ(product_dtype(), at::kHalf);
    }
    EXPECT_EQ(product_dtype(), at::kBFloat16);
  }
  EXPECT_EQ(product_dtype(), at::kFloat);
  const Autocast none(Precision::kFloat32);
  EXPECT_EQ(product_dtype(), at::kFloat);
}

// Autocast keeps the low-precision copy of a parameter: it must not outlive an update.
TEST(Precision, AnUpdatedParameterIsCastAgain) {
  torch::Tensor weight = torch::ones({2, 2}, torch::requires_grad());
  for (const float value : {1.0f, 2.0f}) {
    weight.data().fill_(value);
    const Autocast autocast(Precision::kBFloat16Mixed);
    EXPECT_EQ(torch::mm(torch::ones({2, 2}), weight)[0][0].item<float>(), 2 * value);
  }
}

TEST(LossScale, HalvesOnOverflowAndDoublesAfterGoodSteps) {
  LossScale scale{.scale = 1024};
  scale.update(true, 3);
  EXPECT_EQ(scale.scale, 512);
  EXPECT_EQ(scale.skipped_steps, 1);
  scale.update(false, 3);
  scale.update(false, 3);
  EXPECT_EQ(scale.scale, 512);
  scale.update(false, 3);
  EXPECT_EQ(scale.scale, 1024);
  EXPECT_EQ(scale.good_steps, 0);
}

TEST(LossScale, AnOverflowBeginsTheCountAgain) {
  LossScale scale{.scale = 8};
  scale.update(false, 2);
  scale.update(true, 2);
  scale.update(false, 2);
  EXPECT_EQ(scale.scale, 4);
}

TEST(LossScale, StaysAboveOneAndFinite) {
  LossScale scale{.scale = 2};
  for (int i = 0; i < 10; ++i) scale.update(true, 1);
  EXPECT_EQ(scale.scale, 1);
  for (int i = 0; i < 2000; ++i) scale.update(false, 1);
  EXPECT_EQ(scale.scale, 1099511627776.0);
}

}  // namespace
}  // namespace muster
