// State and slices; the arithmetic is the rule's.
#include "flat_optimizer.h"

#include <ATen/ops/zeros.h>

namespace muster::internal {

FlatOptimizer::FlatOptimizer(const OptimizerOptions& options, std::vector<RuleParameter> parameters,
                             const ShardLayout& shard, const PieceDevice& device)
    : shard_(shard), rule_(make_update_rule(options, std::move(parameters), device)) {
  for (std::string& name : rule_->flat_state()) {
    state_.emplace_back(std::move(name), at::zeros({shard.numel}, device.options()));
  }
}

FlatSlice FlatOptimizer::slice(std::size_t bucket, const PieceMemory& memory) {
  const Piece& piece = shard_.pieces[bucket];
  const std::int64_t offset = piece.offset + memory.range.begin - piece.flat.begin;
  FlatSlice slice{memory.range, memory.parameters, memory.gradient, {}};
  for (std::size_t i = 0; i < state_.size(); ++i)
    slice.state[i] = state_[i].second.mutable_data_ptr<float>() + offset;
  return slice;
}

void FlatOptimizer::prepare(Communicator& communicator, const UpdateNumbers& numbers,
                            const std::function<PieceMemory(std::size_t bucket)>& piece) {
  for (int round = 0; round < rule_->rounds(); ++round) {
    const std::size_t count = rule_->sums(round);
    at::Tensor sums = at::zeros({static_cast<std::int64_t>(count)}, at::TensorOptions(at::kDouble));
    const std::span<double> values(sums.mutable_data_ptr<double>(), count);
    for (std::size_t b = 0; b < shard_.pieces.size(); ++b)
      rule_->measure(round, slice(b, piece(b)), numbers, values);
    // The sums are exact, or of one rank alone: no order shows in them.
    if (shard_.parts > 1 && count > 0) communicator.all_reduce(sums).wait();
    rule_->combine(round, numbers, values);
  }
}

void FlatOptimizer::update(std::size_t bucket, const PieceMemory& memory,
                           const UpdateNumbers& numbers) {
  rule_->update(slice(bucket, memory), numbers);
}

}  // namespace muster::internal
