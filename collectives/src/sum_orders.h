// The order in which sums over a reduction tree are added, worked out once for each tree.
#ifndef MUSTER_COLLECTIVES_SRC_SUM_ORDERS_H_
#define MUSTER_COLLECTIVES_SRC_SUM_ORDERS_H_

#include <map>
#include <vector>

#include "muster/collectives/reduction_tree.h"

namespace muster::internal {

/// Who contributes what, and in which order it is added.
struct SumOrder {
  int sources = 0;                   ///< Of all ranks together.
  std::vector<int> sources_by_rank;  ///< The rank's maximal subtrees.
  std::vector<Addition> additions;   ///< As ReductionTree::schedule() makes them.
};

/// The orders at one world size. Keeps what it has worked out: that takes longer than the sum of a
/// few numbers. One thread at a time.
class SumOrders {
 public:
  explicit SumOrders(int world_size) : world_size_(world_size) {}

  /// Valid as long as this object. Throws ConfigError when the tree has fewer logical ranks than
  /// there are ranks.
  const SumOrder& of(const ReductionTree& tree);
  /// Where every rank is one leaf.
  const SumOrder& of_ranks() { return of(ReductionTree(world_size_)); }

 private:
  int world_size_;
  std::map<int, SumOrder> by_logical_ranks_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SUM_ORDERS_H_
