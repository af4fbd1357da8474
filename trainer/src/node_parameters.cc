// A copy a node, brought up to date after each update.
#include "node_parameters.h"

namespace muster::internal {

NodeParameters::NodeParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                               const ShardLayout& shard, Communicator& communicator)
    : WindowedParameters(layout, shard, communicator, parameters.front().tensor.scalar_type()) {
  const std::vector<int> local_ranks = communicator.ranks_sharing_memory();
  node_ = communicator.split(local_ranks.front(), communicator.rank());
  copy_ = node_->allocate_shared(layout.numel, dtype());
  // A rank that is alone on its node may have no such memory.
  if (!copy_.defined()) copy_ = node_->allocate_symmetric(layout.numel, dtype());
  for (int r = 0; r < communicator.world_size(); ++r) {
    const auto turn = static_cast<std::size_t>(r) % local_ranks.size();
    if (local_ranks[turn] == communicator.rank()) in_charge_of_.push_back(r);
  }
  take_values(parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i].tensor;
    const FlatRange range = layout.parameters[i];
    parameter.set_data(copy_.narrow(0, range.begin, range.numel()).view(parameter.sizes()));
  }
  finish_update();
}

void NodeParameters::begin_update() { communicator_.barrier().wait(); }

void NodeParameters::finish_update() {
  communicator_.barrier().wait();
  std::vector<Work> reads;
  for (const int from : in_charge_of_) {
    for (std::size_t b = 0; b < layout_.buckets.size(); ++b) {
      const FlatRange range = layout_.buckets[b].range;
      reads.push_back(read_piece(from, b, copy_.narrow(0, range.begin, range.numel())));
    }
  }
  for (Work& read : reads) read.wait();
  node_->barrier().wait();
}

}  // namespace muster::internal
