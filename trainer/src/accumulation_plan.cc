// A stack machine over the tree's nodes: push a leaf, merge while the two on top are siblings.
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
  std::vector<LogicalRange> stack;  // entry i lives in slot i
  for (int logical_rank = run.begin; logical_rank < run.end; ++logical_rank) {
    const LogicalRange leaf{logical_rank, logical_rank + 1};
    LeafPlan step;
    step.logical_rank = logical_rank;
    const bool right_leaf = !stack.empty() && stack.back().end - stack.back().begin == 1 &&
                            are_siblings(logical_ranks, stack.back(), leaf);
    if (direct && right_leaf) {
      step.accumulate = true;
      stack.back().end = leaf.end;
    } else {
      stack.push_back(leaf);
    }
    step.slot = static_cast<int>(stack.size()) - 1;
    plan.slots = std::max(plan.slots, static_cast<int>(stack.size()));
    while (stack.size() >= 2 &&
           are_siblings(logical_ranks, stack[stack.size() - 2], stack.back())) {
      const int top = static_cast<int>(stack.size()) - 1;
      step.merges.push_back({top - 1, top});
      stack[stack.size() - 2].end = stack.back().end;
      stack.pop_back();
    }
    plan.leaves.push_back(step);
  }
  plan.partials = static_cast<int>(stack.size());
  return plan;
}

AccumulationPlan make_plain_plan(LogicalRange run) {
  AccumulationPlan plan{{}, 1, 1};
  for (int logical_rank = run.begin; logical_rank < run.end; ++logical_rank)
    plan.leaves.push_back({logical_rank, 0, logical_rank > run.begin, {}});
  return plan;
}

}  // namespace muster::internal
