// What stage 3 between nodes and on GPUs stands on: each rank's shard lies in a window for the
// others to read, in host memory.
#ifndef MUSTER_TRAINER_SRC_WINDOWED_PARAMETERS_H_
#define MUSTER_TRAINER_SRC_WINDOWED_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "muster/collectives/window.h"
#include "parameter_store.h"

namespace muster::internal {

class WindowedParameters : public ParameterStore {
 public:
  at::Tensor piece(std::size_t bucket) override;
  HeldRange held(std::size_t parameter) override;
  bool replicated() const override { return false; }

 protected:
  /// Collective.
  WindowedParameters(const FlatLayout& layout, const ShardLayout& shard, Communicator& communicator,
                     at::ScalarType dtype);
  /// Collective, but where an exception is on its way.
  ~WindowedParameters() override;

  /// Whether an exception takes this away: then the other ranks may not be heard of any more.
  bool unwinding() const;
  /// Collective. Rank 0's values go into all shards, from wherever the parameters are.
  void take_values(const std::vector<NamedTensor>& parameters);
  /// Begins to read rank `from`'s piece of a bucket to its place in `values`, those of the bucket.
  Work read_piece(int from, std::size_t bucket, const at::Tensor& values);
  at::ScalarType dtype() const { return values_.scalar_type(); }

 private:
  WindowedParameters(std::unique_ptr<Window> window, const FlatLayout& layout,
                     const ShardLayout& shard, Communicator& communicator);

  std::unique_ptr<Window> window_;
  std::vector<ShardLayout> shards_;  // by rank
  const int exceptions_at_start_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_WINDOWED_PARAMETERS_H_
