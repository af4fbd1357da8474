// How a rank folds the leaves of its logical ranks into the reduction tree's subtrees, in few
// buffers: pure.
#ifndef MUSTER_TRAINER_SRC_ACCUMULATION_PLAN_H_
#define MUSTER_TRAINER_SRC_ACCUMULATION_PLAN_H_

#include <vector>

#include "muster/collectives/reduction_tree.h"

namespace muster::internal {

/// What to do with one logical rank's leaf: it is added to the subtrees in slots slot + siblings -
/// 1,
/// ..., slot, one after the other and they on the left, as the tree says. The sum is in `slot`; the
/// other siblings' slots are free afterwards.
struct LeafPlan {
  int logical_rank = 0;
  int slot = 0;
  int siblings = 0;

  /// Where the leaf itself lies while it is made; with a direct plan only one without siblings
  /// does.
  int own_slot() const { return slot + siblings; }
};

struct AccumulationPlan {
  std::vector<LeafPlan> leaves;
  /// Leaves are added to their siblings as they are made. Exact only where a leaf is made by one
  /// addition an element, that is with one micro-step.
  bool direct = false;
  int slots = 0;  ///< Buffers needed at the same time.
  int partials =
      0;  ///< In the end slots 0 .. partials-1 hold the maximal subtrees of the run, in order.
};

AccumulationPlan make_accumulation_plan(int logical_ranks, LogicalRange run, bool direct);

/// Direct, into one slot, without regard to the tree.
AccumulationPlan make_plain_plan(LogicalRange run);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ACCUMULATION_PLAN_H_
