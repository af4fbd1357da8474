// The norm of a gradient of which each rank holds a part.
#ifndef MUSTER_TRAINER_SRC_GRADIENT_NORM_H_
#define MUSTER_TRAINER_SRC_GRADIENT_NORM_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flat_layout.h"
#include "muster/collectives/communicator.h"

namespace muster::internal {

/// Squares over blocks, then one fixed tree over all blocks in the order of the parameters'
/// registration: neither shards nor buckets nor units show in the bits.
class GradientNorm {
 public:
  GradientNorm(const FlatLayout& layout, const ShardLayout& shard);

  /// Adds this rank's piece of bucket `bucket`, `gradient`. Every piece once a step.
  void add_piece(std::size_t bucket, const float* gradient);
  /// Collective, unless every rank owns all. The L2 norm over all pieces of all ranks.
  double reduce(Communicator& communicator);

 private:
  const ShardLayout& shard_;
  std::vector<std::int64_t> places_;  // of each block of the tree, in all_
  at::Tensor own_;                    // float64, this rank's blocks, piece by piece
  at::Tensor all_;                    // those of all ranks, end to end
  std::vector<double> in_order_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GRADIENT_NORM_H_
