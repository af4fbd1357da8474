// Tree sums of small vectors.
#include "tree_vector.h"

#include <ATen/ops/from_blob.h>

#include "muster/base/check.h"

namespace muster::internal {

TreeVector::TreeVector(int logical_ranks, LogicalRange run, std::size_t width)
    : plan_(make_accumulation_plan(logical_ranks, run, /*direct=*/false)),
      width_(width),
      slots_(std::make_shared<Slots>(static_cast<std::size_t>(plan_.slots),
                                     std::vector<double>(width))) {}

void TreeVector::add_leaf(std::span<const double> values) {
  MUSTER_CHECK_LT(next_leaf_, plan_.leaves.size());
  MUSTER_CHECK_EQ(values.size(), width_);
  const LeafPlan& leaf = plan_.leaves[next_leaf_++];
  slots_->at(static_cast<std::size_t>(leaf.own_slot())).assign(values.begin(), values.end());
  for (int from = leaf.own_slot(); from > leaf.slot; --from) {
    const std::vector<double>& right = slots_->at(static_cast<std::size_t>(from));
    std::vector<double>& left = slots_->at(static_cast<std::size_t>(from - 1));
    for (std::size_t i = 0; i < width_; ++i) left[i] += right[i];
  }
}

Work TreeVector::reduce(Communicator& communicator, const ReductionTree& tree) {
  MUSTER_CHECK_EQ(next_leaf_, plan_.leaves.size());
  next_leaf_ = 0;
  std::vector<at::Tensor> partials;
  for (int i = 0; i < plan_.partials; ++i) {
    partials.push_back(at::from_blob(
        slots_->at(static_cast<std::size_t>(i)).data(), {static_cast<std::int64_t>(width_)},
        [kept = slots_](void*) {}, at::TensorOptions(at::kDouble)));
  }
  return communicator.canonical_all_reduce(partials, tree);
}

}  // namespace muster::internal
