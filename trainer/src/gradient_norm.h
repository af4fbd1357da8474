// The norm of a gradient of which each rank holds a part.
#ifndef MUSTER_TRAINER_SRC_GRADIENT_NORM_H_
#define MUSTER_TRAINER_SRC_GRADIENT_NORM_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "flat_layout.h"
#include "muster/collectives/communicator.h"
#include "piece_device.h"

namespace muster::internal {

/// Squares over blocks, then one fixed tree over all blocks in the order of the parameters'
/// registration: neither shards nor buckets nor units show in the bits.
class GradientNorm {
 public:
  /// Of pieces on `device`. `shard` and `device` must outlive this.
  GradientNorm(const FlatLayout& layout, const ShardLayout& shard, const PieceDevice& device);

  /// Adds this rank's piece of bucket `bucket`, `gradient`. Every piece once a step.
  void add_piece(std::size_t bucket, const float* gradient);
  /// Collective over host memory, unless every rank owns all. The L2 norm over all pieces of all
  /// ranks.
  double reduce(Communicator& communicator);

 private:
  const ShardLayout& shard_;
  const PieceDevice& device_;
  std::vector<std::int64_t> places_;  // of each block of the tree, in all_
  at::Tensor on_device_;              // float64, this rank's blocks, piece by piece
  at::Tensor own_;                    // the same in host memory
  at::Tensor all_;                    // those of all ranks, end to end
  std::vector<double> in_order_;
};

/// Of the parameters of which this rank's pieces hold an element that is not finite, the first by
/// registration; their number where there is none. `gradient` gives a bucket's piece.
std::size_t first_not_finite(const FlatLayout& layout, const ShardLayout& shard,
                             const std::function<const float*(std::size_t bucket)>& gradient);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GRADIENT_NORM_H_
