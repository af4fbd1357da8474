// Which tensors of a file fit a model.
#include "initial_weights.h"

#include <gmock/gmock.h>

namespace muster::internal {
namespace {

using checkpoint::whole_tensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

NamedTensors named(const std::vector<checkpoint::TensorRange>& tensors) {
  NamedTensors result;
  for (const auto& tensor : tensors) result.emplace(tensor.name, tensor);
  return result;
}

const NamedTensors kModel = named({whole_tensor("body.weight", DType::kFloat32, {4, 3}),
                                   whole_tensor("head.weight", DType::kFloat32, {2, 4}),
                                   whole_tensor("norm.steps", DType::kInt64, {})});

TEST(InitialWeightsTest, FloatsOfOtherTypesFit) {
  EXPECT_THAT(misfits(kModel,
                      named({whole_tensor("body.weight", DType::kBFloat16, {4, 3}),
                             whole_tensor("head.weight", DType::kFloat64, {2, 4}),
                             whole_tensor("norm.steps", DType::kInt64, {})}),
                      ""),
              IsEmpty());
}

TEST(InitialWeightsTest, WhatDoesNotFitIsNamedUnlessAllowed) {
  const NamedTensors found = named({whole_tensor("body.weight", DType::kFloat32, {4, 3}),
                                    whole_tensor("head.weight", DType::kFloat32, {10, 4}),
                                    whole_tensor("head.bias", DType::kFloat32, {10}),
                                    whole_tensor("norm.steps", DType::kFloat32, {})});
  EXPECT_THAT(misfits(kModel, found, ""),
              ElementsAre(HasSubstr("head.weight float32 [2, 4]"), HasSubstr("norm.steps int64"),
                          HasSubstr("expected no head.bias")));
  EXPECT_THAT(misfits(kModel, found, "head.*"), ElementsAre(HasSubstr("norm.steps")));
  EXPECT_THAT(misfits(kModel, found, "head.*,norm.steps"), IsEmpty());
  EXPECT_THAT(misfits(kModel, named({}), "*.weight"),
              ElementsAre("expected norm.steps int64 [] elements [0, 1), found none"));
}

}  // namespace
}  // namespace muster::internal
