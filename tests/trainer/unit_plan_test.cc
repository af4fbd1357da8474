// Units by name.
#include "unit_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(UnitPlan, EachNumberedBlockIsOneAndTheRestIsAnother) {
  EXPECT_THAT(plan_units({"tokens.weight", "blocks.0.norm.weight", "blocks.0.mlp.1.bias",
                          "blocks.1.norm.weight", "norm.weight", "heads.0.weight"}),
              ElementsAre(ElementsAre(0, 4), ElementsAre(1, 2), ElementsAre(3), ElementsAre(5)));
}

TEST(UnitPlan, ANumberIsAWholeWord) {
  EXPECT_THAT(plan_units({"layer1.weight", "layer2.weight", "h2o.3x.bias"}),
              ElementsAre(ElementsAre(0, 1, 2)));
  EXPECT_THAT(plan_units({"0.weight", "1.weight"}), ElementsAre(ElementsAre(0), ElementsAre(1)));
  // A parameter of its own that is called by a number, as those of a ParameterList.
  EXPECT_THAT(plan_units({"scales.0", "scales.1"}), ElementsAre(ElementsAre(0, 1)));
  EXPECT_THAT(plan_units({}), IsEmpty());
}

}  // namespace
}  // namespace muster::internal
