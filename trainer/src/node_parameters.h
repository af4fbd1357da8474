// ZeRO stage 3 with whole parameters on every node: its ranks have one copy together.
#ifndef MUSTER_TRAINER_SRC_NODE_PARAMETERS_H_
#define MUSTER_TRAINER_SRC_NODE_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "windowed_parameters.h"

namespace muster::internal {

/// Hybrid sharding. A rank updates its shard, of all ranks'. Then the ranks of each node share out
/// who fetches whose shard into the node's copy, so that each travels to a node once.
class NodeParameters : public WindowedParameters {
 public:
  /// As ReplicatedParameters.
  NodeParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                 const ShardLayout& shard, Communicator& communicator);

  void begin_update() override;
  void finish_update() override;

 private:
  std::unique_ptr<Communicator> node_;
  std::vector<int> in_charge_of_;  // the ranks whose shards this one fetches
  at::Tensor copy_;                // [layout.numel], the node's
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_NODE_PARAMETERS_H_
