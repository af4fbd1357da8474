// Copied once, then rounded after every update.
#include "master_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

namespace muster::internal {

MasterWeights::MasterWeights(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                             const ShardLayout& shard, Communicator& communicator,
                             const PieceDevice& device)
    : layout_(layout), shard_(shard), values_(at::zeros({shard.numel}, device.options())) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor flat = parameters[i].tensor.detach().contiguous().view(-1);
    communicator.broadcast(flat, 0).wait();
    const auto [begin, own] = held(i);
    own.copy_(flat.narrow(0, begin, own.numel()));
  }
}

float* MasterWeights::piece(std::size_t bucket) {
  return values_.mutable_data_ptr<float>() + shard_.pieces[bucket].offset;
}

void MasterWeights::copy_to(std::size_t bucket, FlatRange range, at::Tensor target) const {
  const at::NoGradGuard no_grad;
  const Piece& piece = shard_.pieces[bucket];
  target.copy_(values_.narrow(0, piece.offset + range.begin - piece.flat.begin, range.numel()));
}

HeldRange MasterWeights::held(std::size_t parameter) const {
  return held_of_shard(layout_, shard_, parameter, values_);
}

}  // namespace muster::internal
