// What an engine's state consists of, by name.
#ifndef MUSTER_TRAINER_SRC_STATE_LIST_H_
#define MUSTER_TRAINER_SRC_STATE_LIST_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "flat_layout.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine.h"
#include "parameter_store.h"

namespace muster::internal {

/// Built up in the order in which checkpoints have it.
class StateList {
 public:
  /// All must outlive this.
  StateList(const std::vector<NamedTensor>& trainable, const FlatLayout& layout,
            const ShardLayout& shard)
      : trainable_(trainable), layout_(layout), shard_(shard) {}

  /// Trainable parameter `index`, of which this rank holds a range.
  void add_parameter(std::size_t index, const HeldRange& held, bool replicated);
  /// What every rank has.
  void add_whole(const std::string& name, const at::Tensor& tensor);
  /// A tensor of the form of a rank's shard: for each trainable parameter what it has of that.
  void add_shard(const std::string& prefix, const at::Tensor& shard);

  std::vector<StateTensor> tensors() && { return std::move(tensors_); }

 private:
  void add_range(const std::string& name, std::size_t index, const HeldRange& held,
                 bool replicated);

  const std::vector<NamedTensor>& trainable_;
  const FlatLayout& layout_;
  const ShardLayout& shard_;
  std::vector<StateTensor> tensors_;
};

/// Collective over host memory, where the result is. Every rank's ranges, put together on every
/// rank.
std::vector<StateTensor> assemble_whole(std::vector<StateTensor> state, Communicator& communicator);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_STATE_LIST_H_
