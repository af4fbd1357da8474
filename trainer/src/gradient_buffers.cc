// Gradient slots and buckets.
#include "gradient_buffers.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "muster/base/check.h"
#include "muster/base/error.h"
#include "sibling_kernels.h"

namespace muster::internal {
namespace {

/// With one micro-step a leaf is made by one addition an element, so a right leaf may add straight
/// into its sibling.
AccumulationPlan make_plan(const GradientSetup& setup, const LogicalRange& run) {
  if (setup.reduction == Reduction::kFast) return make_plain_plan(run);
  return make_accumulation_plan(setup.logical_ranks, run,
                                /*direct=*/setup.accumulation_steps == 1);
}

/// Slots must agree over ranks, since symmetric memory is allocated in step: the most that any rank
/// needs.
int most_slots(const GradientSetup& setup, int world_size) {
  int most = 0;
  for (const LogicalRange& run : assign_logical_ranks(setup.logical_ranks, world_size)) {
    most = std::max(most, make_plan(setup, run).slots);
  }
  return most;
}

/// Whether every rank has one micro-step and need not keep whole partial sums.
bool reuses_buckets(const ShardLayout& shard, const GradientSetup& setup, int world_size) {
  return setup.zero_stage >= 2 && shard.parts > 1 && setup.accumulation_steps == 1 &&
         setup.logical_ranks == world_size;
}

/// Siblings from the nearest to the furthest, which ends as the sum.
void add_up(const std::vector<at::Tensor>& siblings, at::Tensor leaf) {
  // Several threads share an addition of LibTorch's, and not one of ours.
  const bool in_one_walk = siblings.size() > 1 && leaf.is_cpu() &&
                           leaf.scalar_type() == at::kFloat && leaf.is_contiguous() &&
                           at::get_num_threads() == 1;
  if (in_one_walk) {
    std::vector<float*> memory;
    for (const at::Tensor& sibling : siblings) memory.push_back(sibling.mutable_data_ptr<float>());
    add_to_siblings(memory, leaf.const_data_ptr<float>(), leaf.numel());
    return;
  }
  for (at::Tensor sibling : siblings) leaf = sibling.add_(leaf);
}

}  // namespace

std::int64_t held_gradient_numel(const FlatLayout& layout, const ShardLayout& shard,
                                 const GradientSetup& setup, int world_size) {
  if (reuses_buckets(shard, setup, world_size)) return BucketRing::numel(layout) + shard.numel;
  return most_slots(setup, world_size) * layout.numel;
}

GradientBuffers::GradientBuffers(const std::vector<NamedTensor>& parameters,
                                 const FlatLayout& layout, const ShardLayout& shard,
                                 Communicator& communicator, const GradientSetup& setup)
    : parameters_(parameters),
      layout_(layout),
      shard_(shard),
      communicator_(communicator),
      tree_(setup.logical_ranks),
      reduction_(setup.reduction),
      plan_(make_plan(setup, setup.run)),
      order_(layout.buckets.size()),
      touched_(parameters.size()),
      reached_(parameters.size()),
      outstanding_(layout.buckets.size()),
      settled_(layout.buckets.size()),
      works_(layout.buckets.size()),
      has_moved_(layout.buckets.size()) {
  // Backward passes go through a model from its end to its beginning.
  std::iota(order_.rbegin(), order_.rend(), std::size_t{0});
  if (setup.offload_to != nullptr)
    offloaded_ = at::empty({shard.numel}, setup.offload_to->options());
  if (reuses_buckets(shard, setup, communicator.world_size())) {
    ring_.emplace(layout, communicator);
    pieces_ = at::empty({shard.numel}, parameters.front().tensor.options().dtype(at::kFloat));
    return;
  }
  const int slots = most_slots(setup, communicator.world_size());
  for (int s = 0; s < slots; ++s) {
    slots_.push_back(communicator.allocate_symmetric(layout.numel, at::kFloat));
  }
}

void GradientBuffers::reset() {
  for (std::optional<Work>& work : works_) {
    if (work) work->wait();
    work.reset();
  }
  if (ring_) ring_->reset();
  next_leaf_ = 0;
  issued_ = 0;
  in_leaf_ = false;
  last_backward_ = false;
}

void GradientBuffers::begin_leaf() {
  MUSTER_CHECK(!in_leaf_ && next_leaf_ < plan_.leaves.size());
  in_leaf_ = true;
  std::fill(touched_.begin(), touched_.end(), false);
  std::fill(settled_.begin(), settled_.end(), false);
}

void GradientBuffers::begin_backward(bool last, double factor) {
  MUSTER_CHECK(in_leaf_);
  in_backward_ = true;
  std::fill(reached_.begin(), reached_.end(), false);
  factor_ = factor;
  last_backward_ = last;
  if (!last) return;
  for (std::size_t b = 0; b < layout_.buckets.size(); ++b) {
    outstanding_[b] = layout_.buckets[b].parameters.size();
  }
}

at::Tensor GradientBuffers::bucket_in(int slot, std::size_t bucket) {
  if (ring_) return ring_->bucket(bucket);
  const FlatRange range = layout_.buckets[bucket].range;
  return slots_[static_cast<std::size_t>(slot)].narrow(0, range.begin, range.numel());
}

at::Tensor GradientBuffers::view(int slot, std::size_t parameter) {
  const std::size_t bucket = layout_.bucket_of[parameter];
  const FlatRange range = layout_.parameters[parameter];
  return bucket_in(slot, bucket)
      .narrow(0, range.begin - layout_.buckets[bucket].range.begin, range.numel())
      .view(parameters_[parameter].tensor.sizes());
}

void GradientBuffers::add_to_siblings(std::size_t bucket, const FlatRange& range,
                                      const at::Tensor& part) {
  const std::int64_t begin = range.begin - layout_.buckets[bucket].range.begin;
  std::vector<at::Tensor> siblings;
  for (int slot = leaf().own_slot() - 1; slot >= leaf().slot; --slot) {
    siblings.push_back(bucket_in(slot, bucket).narrow(0, begin, range.numel()).view(part.sizes()));
  }
  add_up(siblings, part);
}

void GradientBuffers::receive(std::size_t index, const at::Tensor& found) {
  if (!in_backward_) {
    throw UserError("parameter '" + parameters_[index].name +
                    "': expected gradients from Engine::backward() alone, found one of another "
                    "backward pass, which no micro-batch would count; add what it goes back from "
                    "to the loss, take torch::autograd::grad(), or freeze the parameter for that "
                    "pass (requires_grad_(false)), as those of a discriminator while the generator "
                    "is trained");
  }
  const std::size_t bucket = layout_.bucket_of[index];
  if (reached_[index]) {
    throw UserError("parameter '" + parameters_[index].name +
                    "': expected one gradient a backward pass, found a second, as of a pass within "
                    "it, whose sum would depend on the number of ranks; add the losses, and have "
                    "activations again by activation_checkpoint()");
  }
  reached_[index] = true;
  at::NoGradGuard no_grad;
  const at::Tensor gradient = factor_ == 1 ? found : found.to(at::kFloat).mul(factor_);
  if (touched_[index]) {
    view(is_direct() ? leaf().slot : leaf().own_slot(), index).add_(gradient);
  } else if (is_direct()) {
    add_to_siblings(bucket, layout_.parameters[index], gradient);
  } else {
    // No zeroing needed; converts lower precisions.
    view(leaf().own_slot(), index).copy_(gradient);
  }
  touched_[index] = true;
  if (!last_backward_ || --outstanding_[bucket] > 0) return;
  settle(bucket);
  issue_settled();
}

// The leaf's gradients of this bucket are complete.
void GradientBuffers::settle(std::size_t bucket) {
  for (const std::size_t parameter : layout_.buckets[bucket].parameters) {
    if (touched_[parameter]) continue;
    // Siblings get the zero added for real: it turns -0 into +0, as it would between two ranks.
    if (is_direct()) {
      const at::Tensor& tensor = parameters_[parameter].tensor;
      const at::Tensor zero = at::zeros({}, tensor.options().dtype(at::kFloat));
      add_to_siblings(bucket, layout_.parameters[parameter], zero.expand(tensor.sizes()));
    } else {
      view(leaf().own_slot(), parameter).zero_();
    }
  }
  if (!plan_.direct && leaf().siblings > 0) {
    add_to_siblings(bucket, layout_.buckets[bucket].range, bucket_in(leaf().own_slot(), bucket));
  }
  settled_[bucket] = true;
}

void GradientBuffers::end_leaf() {
  MUSTER_CHECK(in_leaf_);
  at::NoGradGuard no_grad;
  for (const std::size_t bucket : order_) {
    if (!settled_[bucket]) settle(bucket);
    if (in_last_leaf()) issue_settled();
  }
  last_backward_ = false;
  in_leaf_ = false;
  ++next_leaf_;
}

void GradientBuffers::issue_missing() {
  const at::NoGradGuard no_grad;
  for (; issued_ < order_.size(); ++issued_) {
    const std::size_t bucket = order_[issued_];
    for (const std::size_t parameter : layout_.buckets[bucket].parameters)
      view(0, parameter).fill_(std::numeric_limits<float>::quiet_NaN());
    works_[bucket] = issue(bucket);
    if (ring_) ring_->reducing(bucket, *works_[bucket]);
  }
}

// Ranks may complete buckets in different orders, but must issue them in one.
void GradientBuffers::issue_settled() {
  for (; issued_ < order_.size() && settled_[order_[issued_]]; ++issued_) {
    const std::size_t bucket = order_[issued_];
    works_[bucket] = issue(bucket);
    if (ring_) ring_->reducing(bucket, *works_[bucket]);
  }
}

at::Tensor GradientBuffers::reduced_piece(std::size_t bucket) {
  const Piece& piece = shard_.pieces[bucket];
  return ring_ ? pieces_.narrow(0, piece.offset, piece.flat.numel())
               : slots_.front().narrow(0, piece.flat.begin, piece.flat.numel());
}

Work GradientBuffers::issue(std::size_t bucket) {
  has_moved_[bucket] = false;
  std::vector<at::Tensor> partials;
  for (int i = 0; i < plan_.partials; ++i) partials.push_back(bucket_in(i, bucket));
  const bool fast = reduction_ == Reduction::kFast;
  if (shard_.parts == 1) {
    return fast ? communicator_.all_reduce(partials.front())
                : communicator_.canonical_all_reduce(std::move(partials), tree_);
  }
  const at::Tensor output = reduced_piece(bucket);
  return fast ? communicator_.reduce_scatter(output, partials.front())
              : communicator_.canonical_reduce_scatter(output, std::move(partials), tree_);
}

float* GradientBuffers::reduced(std::size_t bucket) {
  MUSTER_CHECK(works_[bucket].has_value());
  works_[bucket]->wait();
  at::Tensor piece = reduced_piece(bucket);
  if (!offloaded_.defined()) return piece.mutable_data_ptr<float>();
  const at::Tensor moved = offloaded_.narrow(0, shard_.pieces[bucket].offset, piece.numel());
  if (!has_moved_[bucket]) moved.copy_(piece);
  has_moved_[bucket] = true;
  return moved.mutable_data_ptr<float>();
}

}  // namespace muster::internal
