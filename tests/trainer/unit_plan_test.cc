// Units by name.
#include "unit_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
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

TEST(UnitPlan, APatternMeansTheOutermostModuleThatItMatches) {
  const std::vector<std::string> names = {"tokens.weight",          "blocks.0.norm.weight",
                                          "blocks.0.mlp.up.weight", "blocks.1.norm.weight",
                                          "blocks.1.mlp.up.weight", "norm.weight"};
  EXPECT_THAT(plan_units(names, {"blocks.*"}),
              ElementsAre(ElementsAre(0, 5), ElementsAre(1, 2), ElementsAre(3, 4)));
  EXPECT_THAT(plan_units(names, {"blocks"}),
              ElementsAre(ElementsAre(0, 5), ElementsAre(1, 2, 3, 4)));
  EXPECT_THAT(plan_units(names, {"*"}),
              ElementsAre(ElementsAre(0), ElementsAre(1, 2, 3, 4), ElementsAre(5)));
  EXPECT_THAT(plan_units(names, {"tokens", "n?rm"}),
              ElementsAre(ElementsAre(0), ElementsAre(1, 2, 3, 4), ElementsAre(5)));
}

TEST(UnitPlan, AModuleInsideAnotherIsAUnitOfItsOwn) {
  const std::vector<std::string> names = {"blocks.0.norm.weight", "blocks.0.mlp.weight",
                                          "blocks.1.mlp.weight"};
  for (const auto& patterns :
       {std::vector<std::string>{"blocks.?", "*.0.mlp"}, {"*.0.mlp", "blocks.?"}}) {
    EXPECT_THAT(plan_units(names, patterns),
                ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2)));
  }
}

TEST(UnitPlan, APatternThatMeansNoModuleIsNamed) {
  const auto message = [](const std::string& pattern) -> std::string {
    try {
      plan_units({"tokens.weight", "blocks.0.norm.weight"}, {"blocks.*", pattern});
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message("block.?"), HasSubstr("found 'block.?'; the first parameter is "
                                            "tokens.weight, the last blocks.0.norm.weight"));
  EXPECT_THAT(message("*.weight"), HasSubstr("found '*.weight'"));  // a parameter, not a module
  EXPECT_THAT(message(""), HasSubstr("found ''"));
}

}  // namespace
}  // namespace muster::internal
