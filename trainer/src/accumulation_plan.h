// How a rank folds the leaves of its logical ranks into the reduction tree's subtrees, in few
// buffers: pure.
#ifndef MUSTER_TRAINER_SRC_ACCUMULATION_PLAN_H_
#define MUSTER_TRAINER_SRC_ACCUMULATION_PLAN_H_

#include <vector>

#include "muster/collectives/reduction_tree.h"

namespace muster::internal {

/// slots[into] += slots[from]; `from` is free afterwards. Left operand first, as the tree says.
struct Merge {
  int into = 0;
  int from = 0;
  friend bool operator==(const Merge&, const Merge&) = default;
};

/// What to do for one logical rank, in this order: write its sum into `slot`, then the merges.
struct LeafPlan {
  int logical_rank = 0;
  int slot = 0;
  /// The leaf adds straight into its left sibling in `slot`, which is the tree's addition; else it
  /// overwrites the slot.
  bool accumulate = false;
  std::vector<Merge> merges;
};

struct AccumulationPlan {
  std::vector<LeafPlan> leaves;
  int slots = 0;  ///< Buffers needed at the same time.
  int partials =
      0;  ///< In the end slots 0 .. partials-1 hold the maximal subtrees of the run, in order.
};

/// `direct`: right leaves may accumulate straight into their siblings. Exact only where a leaf is
/// made by one addition an element, that is with one micro-step.
AccumulationPlan make_accumulation_plan(int logical_ranks, LogicalRange run, bool direct);

/// One slot for all leaves, without regard to the tree.
AccumulationPlan make_plain_plan(LogicalRange run);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ACCUMULATION_PLAN_H_
