// The plan's slots must end as the tree's own subtrees, expression for expression.
#include "accumulation_plan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace muster::internal {
namespace {

/// The sum over a tree node, as text.
std::string tree_expression(int begin, int end) {
  if (end - begin == 1) return std::to_string(begin);
  const int middle = ReductionTree::split(begin, end);
  return "(" + tree_expression(begin, middle) + "+" + tree_expression(middle, end) + ")";
}

/// What the slots hold after the plan, as text.
std::vector<std::string> run_plan(const AccumulationPlan& plan) {
  std::vector<std::string> slots(static_cast<std::size_t>(plan.slots));
  for (const LeafPlan& leaf : plan.leaves) {
    std::string sum = std::to_string(leaf.logical_rank);
    const bool held = !plan.direct || leaf.siblings == 0;
    if (held) sum = slots.at(static_cast<std::size_t>(leaf.own_slot())) = sum;
    for (int i = leaf.own_slot() - 1; i >= leaf.slot; --i)
      sum = "(" + slots.at(static_cast<std::size_t>(i)) + "+" + sum + ")";
    slots.at(static_cast<std::size_t>(leaf.slot)) = sum;
  }
  slots.resize(static_cast<std::size_t>(plan.partials));
  return slots;
}

TEST(AccumulationPlan, EveryRunOfEveryTreeYieldsItsMaximalSubtrees) {
  for (int logical_ranks = 1; logical_ranks <= 20; ++logical_ranks) {
    const ReductionTree tree(logical_ranks);
    for (int begin = 0; begin < logical_ranks; ++begin) {
      for (int end = begin + 1; end <= logical_ranks; ++end) {
        for (const bool direct : {false, true}) {
          const AccumulationPlan plan = make_accumulation_plan(logical_ranks, {begin, end}, direct);
          std::vector<std::string> expected;
          for (const LogicalRange& subtree : tree.maximal_subtrees({begin, end})) {
            expected.push_back(tree_expression(subtree.begin, subtree.end));
          }
          ASSERT_EQ(run_plan(plan), expected)
              << "L " << logical_ranks << " run [" << begin << ", " << end << ") direct " << direct;
        }
      }
    }
  }
}

TEST(AccumulationPlan, APlainPlanAddsAllInOneSlot) {
  const AccumulationPlan plan = make_plain_plan({2, 6});
  EXPECT_EQ(plan.slots, 1);
  EXPECT_EQ(run_plan(plan), std::vector<std::string>{"(((2+3)+4)+5)"});
}

TEST(AccumulationPlan, DirectLeavesSaveASlot) {
  EXPECT_EQ(make_accumulation_plan(8, {0, 8}, false).slots, 4);
  EXPECT_EQ(make_accumulation_plan(8, {0, 8}, true).slots, 3);
  EXPECT_EQ(make_accumulation_plan(3, {0, 3}, false).slots, 2);
  EXPECT_EQ(make_accumulation_plan(3, {0, 3}, true).slots, 1);
  EXPECT_EQ(make_accumulation_plan(8, {0, 2}, true).slots, 1);
  EXPECT_EQ(make_accumulation_plan(4, {0, 2}, true).partials, 1);
}

}  // namespace
}  // namespace muster::internal
