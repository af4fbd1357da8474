// Which parameters can be trained.
#include "module_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

struct TwoParameters : torch::nn::Module {
  TwoParameters(const torch::Tensor& a, const torch::Tensor& b) {
    register_parameter("a", a, a.is_floating_point());
    register_parameter("b", b, b.is_floating_point());
  }
};

std::vector<std::int64_t> trainable_numels(const torch::Tensor& a, const torch::Tensor& b) {
  TwoParameters module(a, b);
  return checked_numels(collect_tensors(module).trainable);
}

TEST(ModuleTensors, OneTensorUnderTwoNamesIsOneParameter) {
  const torch::Tensor weight = torch::zeros({2, 3});
  EXPECT_THAT(trainable_numels(weight, weight), ElementsAre(6));
}

TEST(ModuleTensors, TwoTensorsMayLieSideBySideButNotOverEachOther) {
  const torch::Tensor memory = torch::zeros({12});
  EXPECT_THAT(trainable_numels(memory.narrow(0, 0, 6), memory.narrow(0, 6, 6).view({2, 3})),
              ElementsAre(6, 6));
  EXPECT_THAT([&] { trainable_numels(memory.narrow(0, 6, 6), memory.narrow(0, 0, 7)); },
              ThrowsMessage<ConfigError>(
                  AllOf(HasSubstr("'b' and 'a'"), HasSubstr("found that they overlap"))));
}

TEST(ModuleTensors, WhatCannotBeTrainedIsNamed) {
  const torch::Tensor good = torch::zeros({2});
  for (const auto dtype : {torch::kDouble, torch::kBFloat16}) {
    EXPECT_THAT([&] { trainable_numels(good, torch::zeros({3}, dtype)); },
                ThrowsMessage<ConfigError>(
                    AllOf(HasSubstr("parameter 'b': expected dense float32 on the CPU"),
                          HasSubstr("freeze it with requires_grad_(false)"))));
  }
  // Those are never trained.
  for (const auto dtype : {torch::kLong, torch::kBool})
    EXPECT_THAT(trainable_numels(good, torch::zeros({3}, dtype)), ElementsAre(2));
}

// What one element is to LibTorch would be several to the optimizer.
TEST(ModuleTensors, AnExpandedParameterIsNamed) {
  EXPECT_THAT(
      [] { trainable_numels(torch::zeros({2}), torch::zeros({1}).expand({6})); },
      ThrowsMessage<ConfigError>(AllOf(HasSubstr("parameter 'b'"), HasSubstr("clone() it"))));
}

// Its gradient goes on to what it was made of, and none would come to the optimizer.
TEST(ModuleTensors, AParameterThatIsAResultIsNamed) {
  const torch::Tensor made = torch::ones({3}).requires_grad_(true) * 2;
  EXPECT_THAT([&] { trainable_numels(torch::zeros({2}), made); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("parameter 'b'"), HasSubstr("detach()"))));
}

}  // namespace
}  // namespace muster::internal
