// Whole parameters, gathered bucket by bucket.
#include "parameter_store.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace muster::internal {

HeldRange held_of_shard(const FlatLayout& layout, const ShardLayout& shard, std::size_t parameter,
                        const at::Tensor& flat) {
  const FlatRange range = layout.parameters[parameter];
  const Piece& piece = shard.pieces[layout.bucket_of[parameter]];
  const std::int64_t begin = std::clamp(piece.flat.begin, range.begin, range.end);
  const std::int64_t end = std::clamp(piece.flat.end, begin, range.end);
  const std::int64_t in_shard = begin == end ? 0 : piece.offset + begin - piece.flat.begin;
  return {begin - range.begin, flat.narrow(0, in_shard, end - begin)};
}

ReplicatedParameters::ReplicatedParameters(const std::vector<NamedTensor>& parameters,
                                           const FlatLayout& layout, const ShardLayout& shard,
                                           Communicator& communicator)
    : layout_(layout),
      shard_(shard),
      communicator_(communicator),
      values_(communicator.allocate_symmetric(layout.numel, at::kFloat)) {
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i].tensor;
    const FlatRange range = layout.parameters[i];
    at::Tensor view = values_.narrow(0, range.begin, range.numel()).view(parameter.sizes());
    view.copy_(parameter);
    parameter.set_data(view);
  }
  communicator_.broadcast(values_, 0).wait();
}

float* ReplicatedParameters::piece(std::size_t bucket) {
  return values_.mutable_data_ptr<float>() + shard_.pieces[bucket].flat.begin;
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

HeldRange ReplicatedParameters::held(std::size_t parameter) {
  const FlatRange range = layout_.parameters[parameter];
  return {0, values_.narrow(0, range.begin, range.numel())};
}

}  // namespace muster::internal
