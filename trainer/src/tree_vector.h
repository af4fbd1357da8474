// Small vectors of float64 (losses, weights, metrics) summed over logical ranks in tree order.
#ifndef MUSTER_TRAINER_SRC_TREE_VECTOR_H_
#define MUSTER_TRAINER_SRC_TREE_VECTOR_H_

#include <memory>
#include <span>
#include <vector>

#include "accumulation_plan.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/work.h"

namespace muster::internal {

class TreeVector {
 public:
  TreeVector(int logical_ranks, LogicalRange run, std::size_t width);
  /// The next logical rank's vector; the run's logical ranks in order.
  void add_leaf(std::span<const double> values);
  bool has_all_leaves() const { return next_leaf_ == plan_.leaves.size(); }
  /// Collective. After the last leaf: issues the sum over all logical ranks. Requires width > 0.
  /// The operation may outlive this, as where a step is given up.
  Work reduce(Communicator& communicator, const ReductionTree& tree);
  /// Once that has ended: the sum, the same bits everywhere.
  const std::vector<double>& sum() const { return slots_->front(); }
  /// Ready for the first leaf again.
  void reset() { next_leaf_ = 0; }

 private:
  AccumulationPlan plan_;
  std::size_t width_;
  using Slots = std::vector<std::vector<double>>;
  std::shared_ptr<Slots> slots_;  // also of operations under way
  std::size_t next_leaf_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_TREE_VECTOR_H_
