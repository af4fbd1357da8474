// A stack machine over the tree's nodes: a leaf takes up what is on top for as long as that is its
// sibling, then it is pushed.
#include "accumulation_plan.h"

#include <algorithm>

namespace muster::internal {
namespace {

/// Whether [left.begin, right.end) is a node of the tree over [0, logical_ranks) whose children are
/// `left` and `right`.
bool are_siblings(int logical_ranks, LogicalRange left, LogicalRange right) {
  int begin = 0;
  int end = logical_ranks;
  while (end - begin >= 2) {
    const int middle = ReductionTree::split(begin, end);
    if (begin == left.begin && end == right.end) return middle == left.end;
    if (right.end <= middle) {
      end = middle;
    } else if (left.begin >= middle) {
      begin = middle;
    } else {
      return false;
    }
  }
  return false;
}

}  // namespace

AccumulationPlan make_accumulation_plan(int logical_ranks, LogicalRange run, bool direct) {
  AccumulationPlan plan;
  plan.direct = direct;
  std::vector<LogicalRange> stack;  // entry i lives in slot i
  for (int logical_rank = run.begin; logical_rank < run.end; ++logical_rank) {
    LeafPlan leaf{logical_rank, static_cast<int>(stack.size()), 0};
    LogicalRange sum{logical_rank, logical_rank + 1};
    while (!stack.empty() && are_siblings(logical_ranks, stack.back(), sum)) {
      sum.begin = stack.back().begin;
      stack.pop_back();
      --leaf.slot;
      ++leaf.siblings;
    }
    stack.push_back(sum);
    const bool held = !direct || leaf.siblings == 0;
    plan.slots = std::max(plan.slots, leaf.own_slot() + (held ? 1 : 0));
    plan.leaves.push_back(leaf);
  }
  plan.partials = static_cast<int>(stack.size());
  return plan;
}

AccumulationPlan make_plain_plan(LogicalRange run) {
  AccumulationPlan plan{{}, /*direct=*/true, /*slots=*/1, /*partials=*/1};
  for (int logical_rank = run.begin; logical_rank < run.end; ++logical_rank)
    plan.leaves.push_back({logical_rank, 0, logical_rank > run.begin ? 1 : 0});
  return plan;
}

}  // namespace muster::internal
