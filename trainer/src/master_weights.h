// The float32 weights behind a module's parameters, where those are bfloat16 or on another device.
#ifndef MUSTER_TRAINER_SRC_MASTER_WEIGHTS_H_
#define MUSTER_TRAINER_SRC_MASTER_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "flat_layout.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "parameter_store.h"
#include "piece_device.h"

namespace muster::internal {

/// Of this rank's pieces alone: what others own they send rounded.
class MasterWeights {
 public:
  /// Collective. Copies, on `device`, of float32 `parameters`, which `communicator` is for and
  /// which become rank 0's. `layout` and `shard` must outlive this.
  MasterWeights(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                const ShardLayout& shard, Communicator& communicator, const PieceDevice& device);

  float* piece(std::size_t bucket);
  /// `target` becomes `range`, of the piece of a bucket; rounded to nearest even where it is
  /// bfloat16.
  void copy_to(std::size_t bucket, FlatRange range, at::Tensor target) const;
  /// For checkpoints, as ParameterStore::held().
  HeldRange held(std::size_t parameter) const;

 private:
  const FlatLayout& layout_;
  const ShardLayout& shard_;
  at::Tensor values_;  // [shard.numel] float32; padding is zero
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_MASTER_WEIGHTS_H_
