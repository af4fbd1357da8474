// Which parameters a pattern means, and how groups are written.
#include "muster/trainer/parameter_groups.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"
#include "rule_parameters.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ParameterGroups, StarsStandForTextAndQuestionMarksForACharacter) {
  EXPECT_TRUE(matches_pattern("*.bias", "layers.0.bias"));
  EXPECT_FALSE(matches_pattern("*.bias", "layers.0.bias.x"));
  EXPECT_TRUE(matches_pattern("layers.?.*.weight", "layers.3.attention.weight"));
  EXPECT_FALSE(matches_pattern("layers.?.*.weight", "layers.13.attention.weight"));
  EXPECT_TRUE(matches_pattern("*a*ab", "xaaab"));  // the first star must give way
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_FALSE(matches_pattern("", "x"));
  EXPECT_FALSE(matches_pattern("bias?", "bias"));
}

TEST(ParameterGroups, AreReadAsWritten) {
  EXPECT_THAT(parse_parameter_groups(" "), IsEmpty());
  EXPECT_THAT(parse_parameter_groups(
                  "emb.*:learning-rate-factor=0.1, weight-decay=0; *.bias:weight-decay=2"),
              ElementsAre(ParameterGroup{"emb.*", 0.1, 0.0}, ParameterGroup{"*.bias", 1.0, 2.0}));
}

TEST(ParameterGroups, PatternsAreBetweenCommas) {
  EXPECT_THAT(split_patterns("a.*, b?,c"), ElementsAre("a.*", "b?", "c"));
  EXPECT_THAT(split_patterns("a,"), ElementsAre("a", ""));
  EXPECT_THAT(split_patterns(" "), IsEmpty());
}

TEST(ParameterGroups, WhatCannotBeReadIsNamed) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      parse_parameter_groups(text);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message("emb.*"), HasSubstr("a pattern before a colon, found 'emb.*'"));
  EXPECT_THAT(message("a:lr=1"), HasSubstr("found 'lr=1'"));
  EXPECT_THAT(message("a:weight-decay=-1"), HasSubstr("0 or more, found 'weight-decay=-1'"));
  EXPECT_THAT(message("a:weight-decay=0;"), HasSubstr("found ''"));
}

TEST(ParameterGroups, TheFirstThatMatchesCounts) {
  const std::vector<internal::NamedTensor> parameters = {{"emb.weight", at::zeros({4, 2})},
                                                         {"out.weight", at::zeros({2, 2})},
                                                         {"out.bias", at::zeros({2})}};
  const internal::FlatLayout layout =
      internal::make_flat_layout({8, 4, 2}, {{0, 1, 2}}, 1 << 20, 1);
  EngineOptions options;
  options.optimizer.weight_decay = 0.5;
  options.optimizer.groups = {{"emb.*", 0.1, 0.25}, {"*.weight", 3.0}, {"*.bias", 2.0, 0.75}};
  const auto found = internal::make_rule_parameters(options, parameters, layout);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].learning_rate_factor, 0.1);
  EXPECT_EQ(found[0].weight_decay, 0.25);
  EXPECT_EQ(found[1].learning_rate_factor, 3.0);
  EXPECT_EQ(found[1].weight_decay, 0.5);  // what no group says stays as it was
  EXPECT_EQ(found[2].weight_decay, 0.75);
  options.optimizer.groups = {};
  EXPECT_EQ(internal::make_rule_parameters(options, parameters, layout)[2].weight_decay, 0.0);
}

}  // namespace
}  // namespace muster
