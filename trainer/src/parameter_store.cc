// Whole parameters, gathered bucket by bucket.
#include "parameter_store.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
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

namespace {

/// Copies each parameter to its place in `values`, and makes it a view of that.
void move_into(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
               const at::Tensor& values) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i].tensor;
    const FlatRange range = layout.parameters[i];
    at::Tensor view = values.narrow(0, range.begin, range.numel()).view(parameter.sizes());
    view.copy_(parameter);
    parameter.set_data(view);
  }
}

}  // namespace

ReplicatedParameters::ReplicatedParameters(const std::vector<NamedTensor>& parameters,
                                           const FlatLayout& layout, const ShardLayout& shard,
                                           Communicator& communicator)
    : ParameterStore(
          layout, shard, communicator,
          communicator.allocate_symmetric(layout.numel, parameters.front().tensor.scalar_type())) {
  move_into(parameters, layout, values_);
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

namespace {

/// So many elements are whole pages in every dtype.
constexpr std::int64_t kPageNumel = 4096;

at::Tensor allocate_rows(Communicator& communicator, std::int64_t numel, at::ScalarType dtype) {
  const std::int64_t row = (numel + kPageNumel - 1) / kPageNumel * kPageNumel;
  const std::int64_t rows = communicator.world_size();
  return communicator.allocate_shared(rows * row, dtype).view({rows, row});
}

/// In a storage of its own, since torch::save() writes whole storages.
at::Tensor own_row(const at::Tensor& all, int rank, std::int64_t numel) {
  const at::Tensor row = all.select(0, rank);
  return at::from_blob(
      row.mutable_data_ptr(), {numel}, [all](void*) {}, all.options());
}

}  // namespace

MirroredParameters::MirroredParameters(const std::vector<NamedTensor>& parameters,
                                       const FlatLayout& layout, const ShardLayout& shard,
                                       Communicator& communicator)
    : MirroredParameters(
          layout, shard, communicator,
          allocate_rows(communicator, layout.numel, parameters.front().tensor.scalar_type())) {
  move_into(parameters, layout, values_);
  communicator_.broadcast(values_, 0).wait();
}

MirroredParameters::MirroredParameters(const FlatLayout& layout, const ShardLayout& shard,
                                       Communicator& communicator, at::Tensor all)
    : ParameterStore(layout, shard, communicator, own_row(all, communicator.rank(), layout.numel)),
      all_(std::move(all)) {}

void MirroredParameters::updated(FlatRange range) {
  const auto element = static_cast<std::int64_t>(all_.element_size());
  auto* const first_row = static_cast<std::byte*>(all_.mutable_data_ptr()) + range.begin * element;
  const std::int64_t row = all_.size(1) * element;
  const int own = communicator_.rank();
  for (int r = 0; r < communicator_.world_size(); ++r) {
    if (r == own) continue;
    std::memcpy(first_row + r * row, first_row + own * row,
                static_cast<std::size_t>(range.numel() * element));
  }
}

// Until here other ranks may have read what this one is about to change, and from finish_update()
// on they read it.
void MirroredParameters::begin_update() { communicator_.barrier().wait(); }
void MirroredParameters::finish_update() { communicator_.barrier().wait(); }

HeldRange MirroredParameters::held(std::size_t parameter) { return {0, values_of(parameter)}; }

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

// As MirroredParameters.
void SharedParameters::begin_update() { communicator_.barrier().wait(); }
void SharedParameters::finish_update() { communicator_.barrier().wait(); }

HeldRange SharedParameters::held(std::size_t parameter) {
  const FlatRange own = owned_part(layout_, shard_, parameter);
  return {own.begin - layout_.parameters[parameter].begin,
          values_.narrow(0, own.begin, own.numel())};
}

}  // namespace muster::internal
