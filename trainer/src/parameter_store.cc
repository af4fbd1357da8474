// Whole parameters, gathered bucket by bucket.
#include "parameter_store.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

namespace muster::internal {

namespace {

/// What a shard has of a parameter, in the flat space.
FlatRange owned_part(const FlatLayout& layout, const ShardLayout& shard, std::size_t parameter) {
  const FlatRange range = layout.parameters[parameter];
  const FlatRange piece = shard.pieces[layout.bucket_of[parameter]].flat;
  const std::int64_t begin = std::clamp(piece.begin, range.begin, range.end);
  return {begin, std::clamp(piece.end, begin, range.end)};
}

}  // namespace

HeldRange held_of_shard(const FlatLayout& layout, const ShardLayout& shard, std::size_t parameter,
                        const at::Tensor& flat) {
  const FlatRange own = owned_part(layout, shard, parameter);
  const Piece& piece = shard.pieces[layout.bucket_of[parameter]];
  const std::int64_t in_shard = own.numel() == 0 ? 0 : piece.offset + own.begin - piece.flat.begin;
  return {own.begin - layout.parameters[parameter].begin, flat.narrow(0, in_shard, own.numel())};
}

ParameterStore::ParameterStore(const FlatLayout& layout, const ShardLayout& shard,
                               Communicator& communicator, at::Tensor values)
    : layout_(layout), shard_(shard), communicator_(communicator), values_(std::move(values)) {}

at::Tensor ParameterStore::piece(std::size_t bucket) {
  const FlatRange own = shard_.pieces[bucket].flat;
  return values_.narrow(0, own.begin, own.numel());
}

at::Tensor ParameterStore::values_of(std::size_t parameter) const {
  const FlatRange range = layout_.parameters[parameter];
  return values_.narrow(0, range.begin, range.numel());
}

ReplicatedParameters::ReplicatedParameters(const std::vector<NamedTensor>& parameters,
                                           const FlatLayout& layout, const ShardLayout& shard,
                                           Communicator& communicator)
    : ParameterStore(
          layout, shard, communicator,
          communicator.allocate_symmetric(layout.numel, parameters.front().tensor.scalar_type())) {
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i].tensor;
    at::Tensor view = values_of(i).view(parameter.sizes());
    view.copy_(parameter);
    parameter.set_data(view);
  }
  communicator_.broadcast(values_, 0).wait();
}

void ReplicatedParameters::publish(std::size_t bucket) {
  if (shard_.parts == 1) return;
  const FlatRange whole = layout_.buckets[bucket].range;
  const FlatRange own = shard_.pieces[bucket].flat;
  published_.push_back(communicator_.all_gather(values_.narrow(0, whole.begin, whole.numel()),
                                                values_.narrow(0, own.begin, own.numel())));
}

void ReplicatedParameters::finish_update() {
  for (Work& work : published_) work.wait();
  published_.clear();
}

HeldRange ReplicatedParameters::held(std::size_t parameter) { return {0, values_of(parameter)}; }

SharedParameters::SharedParameters(const std::vector<NamedTensor>& parameters,
                                   const FlatLayout& layout, const ShardLayout& shard,
                                   Communicator& communicator)
    : ParameterStore(
          layout, shard, communicator,
          communicator.allocate_shared(layout.numel, parameters.front().tensor.scalar_type())) {
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i].tensor;
    const at::Tensor values = parameter.detach().contiguous().view(-1);
    communicator_.broadcast(values, 0).wait();
    // Each rank touches its own pages first, and so is charged for them.
    const auto [begin, own] = held(i);
    own.copy_(values.narrow(0, begin, own.numel()));
    parameter.set_data(values_of(i).view(parameter.sizes()));
  }
  communicator_.barrier().wait();
}

// Until here other ranks may have read what this one is about to change, and from finish_update()
// on they read it.
void SharedParameters::begin_update() { communicator_.barrier().wait(); }
void SharedParameters::finish_update() { communicator_.barrier().wait(); }

HeldRange SharedParameters::held(std::size_t parameter) {
  const FlatRange own = owned_part(layout_, shard_, parameter);
  return {own.begin - layout_.parameters[parameter].begin,
          values_.narrow(0, own.begin, own.numel())};
}

}  // namespace muster::internal
