// From additions to a stack machine's program.
#include "device/combine_program.h"

#include <algorithm>
#include <vector>

#include "muster/base/check.h"

namespace muster::internal {
namespace {

/// Sources [first, last] that a value is made of.
struct Interval {
  int first = -1;
  int last = -1;
};

}  // namespace

// A value can be made as soon as its last source is there. Those that end at one source lie within
// each other, so that the stack machine makes the inner ones first, as the tree does.
CombineProgram combine_program(const ReducePlan& plan) {
  MUSTER_CHECK(plan.sources >= 1 && plan.sources <= kMaxDeviceSources) << plan.sources;
  MUSTER_CHECK_EQ(plan.additions.size() + 1, static_cast<std::size_t>(plan.sources));
  CombineProgram program{plan.combine, plan.divisor, plan.sources, {}};
  int values = plan.sources;
  for (const Addition& addition : plan.additions) values = std::max(values, addition.into + 1);
  std::vector<Interval> intervals(static_cast<std::size_t>(values));
  for (int s = 0; s < plan.sources; ++s) intervals[static_cast<std::size_t>(s)] = {s, s};
  for (const Addition& addition : plan.additions) {
    const Interval left = intervals[static_cast<std::size_t>(addition.left)];
    const Interval right = intervals[static_cast<std::size_t>(addition.right)];
    MUSTER_CHECK(left.first >= 0 && left.last + 1 == right.first) << "not a tree over the sources";
    ++program.combinations_after[right.last];
    intervals[static_cast<std::size_t>(addition.into)] = {left.first, right.last};
  }
  int depth = 0;
  for (int s = 0; s < plan.sources; ++s) {
    depth += 1;
    MUSTER_CHECK_LE(depth, kMaxCombineStack);
    depth -= program.combinations_after[s];
    MUSTER_CHECK_GE(depth, 1);
  }
  MUSTER_CHECK_EQ(depth, 1);
  return program;
}

}  // namespace muster::internal
