// From subtrees to additions.
#include "sum_orders.h"

#include <utility>

namespace muster::internal {

const SumOrder& SumOrders::of(const ReductionTree& tree) {
  const auto known = by_logical_ranks_.find(tree.logical_ranks());
  if (known != by_logical_ranks_.end()) return known->second;
  SumOrder order;
  std::vector<LogicalRange> subtrees;
  for (const auto& of_rank : tree.subtrees_by_rank(world_size_)) {
    order.sources_by_rank.push_back(static_cast<int>(of_rank.size()));
    subtrees.insert(subtrees.end(), of_rank.begin(), of_rank.end());
  }
  order.sources = static_cast<int>(subtrees.size());
  order.additions = tree.schedule(subtrees);
  return by_logical_ranks_.emplace(tree.logical_ranks(), std::move(order)).first->second;
}

}  // namespace muster::internal
