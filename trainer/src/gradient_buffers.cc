// Gradient slots.
#include "gradient_buffers.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "muster/base/check.h"

namespace muster::internal {
namespace {

/// Slots must agree over ranks, since symmetric memory is allocated in step: the most that any rank
/// needs.
int most_slots(int logical_ranks, int world_size, bool direct) {
  int most = 0;
  for (const LogicalRange& run : assign_logical_ranks(logical_ranks, world_size)) {
    most = std::max(most, make_accumulation_plan(logical_ranks, run, direct).slots);
  }
  return most;
}

}  // namespace

GradientBuffers::GradientBuffers(const std::vector<at::Tensor>& parameters,
                                 const FlatLayout& layout, std::vector<FlatRange> buckets,
                                 Communicator& communicator, int logical_ranks, LogicalRange run,
                                 bool direct)
    : plan_(make_accumulation_plan(logical_ranks, run, direct)),
      buckets_(std::move(buckets)),
      touched_(parameters.size(), false) {
  const int slots = most_slots(logical_ranks, communicator.world_size(), direct);
  for (int s = 0; s < slots; ++s) {
    at::Tensor slot = communicator.allocate_symmetric(layout.numel, at::kFloat);
    std::vector<at::Tensor> views;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      const FlatRange range = layout.parameters[p];
      views.push_back(slot.narrow(0, range.begin, range.numel()).view(parameters[p].sizes()));
    }
    views_.push_back(std::move(views));
    slots_.push_back(std::move(slot));
  }
}

void GradientBuffers::reset() {
  next_leaf_ = 0;
  in_leaf_ = false;
}

void GradientBuffers::begin_leaf() {
  MUSTER_CHECK(!in_leaf_ && next_leaf_ < plan_.leaves.size());
  in_leaf_ = true;
  std::fill(touched_.begin(), touched_.end(), false);
}

void GradientBuffers::receive(std::size_t index, const at::Tensor& gradient) {
  MUSTER_CHECK(in_leaf_) << "a backward pass outside Engine::backward() reached a parameter";
  at::NoGradGuard no_grad;
  const LeafPlan& leaf = plan_.leaves[next_leaf_];
  at::Tensor& target = views_[static_cast<std::size_t>(leaf.slot)][index];
  if (leaf.accumulate || touched_[index]) {
    target.add_(gradient);
  } else {
    target.copy_(gradient);  // first touch: no zeroing needed; converts lower precisions
  }
  touched_[index] = true;
}

void GradientBuffers::end_leaf() {
  MUSTER_CHECK(in_leaf_);
  at::NoGradGuard no_grad;
  const LeafPlan& leaf = plan_.leaves[next_leaf_];
  for (std::size_t p = 0; p < touched_.size(); ++p) {
    if (touched_[p]) continue;
    at::Tensor& target = views_[static_cast<std::size_t>(leaf.slot)][p];
    // A sibling gets its zero added for real: it turns -0 into +0, as it would between two ranks.
    if (leaf.accumulate) {
      target.add_(0.0f);
    } else {
      target.zero_();
    }
  }
  for (const Merge& merge : leaf.merges) {
    slots_[static_cast<std::size_t>(merge.into)].add_(slots_[static_cast<std::size_t>(merge.from)]);
  }
  ++next_leaf_;
  in_leaf_ = false;
}

std::vector<Work> GradientBuffers::reduce(Communicator& communicator, const ReductionTree& tree) {
  MUSTER_CHECK_EQ(next_leaf_, plan_.leaves.size());
  next_leaf_ = 0;
  std::vector<Work> works;
  for (const FlatRange& bucket : buckets_) {
    std::vector<at::Tensor> partials;
    for (int i = 0; i < plan_.partials; ++i) {
      partials.push_back(
          slots_[static_cast<std::size_t>(i)].narrow(0, bucket.begin, bucket.numel()));
    }
    works.push_back(communicator.canonical_all_reduce(std::move(partials), tree));
  }
  return works;
}

}  // namespace muster::internal
