// Ranges with names.
#include "state_list.h"

#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

namespace muster::internal {

void StateList::add_range(const std::string& name, std::size_t index, const HeldRange& held,
                          bool replicated) {
  tensors_.push_back(
      {name, trainable_[index].tensor.sizes().vec(), held.begin, held.flat, replicated});
}

void StateList::add_parameter(std::size_t index, const HeldRange& held, bool replicated) {
  add_range("model." + trainable_[index].name, index, held, replicated);
}

void StateList::add_whole(const std::string& name, const at::Tensor& tensor) {
  tensors_.push_back({name, tensor.sizes().vec(), 0, tensor.detach().view(-1), true});
}

void StateList::add_shard(const std::string& prefix, const at::Tensor& shard) {
  for (std::size_t i = 0; i < trainable_.size(); ++i) {
    add_range(prefix + trainable_[i].name, i, held_of_shard(layout_, shard_, i, shard),
              shard_.parts == 1);
  }
}

std::vector<StateTensor> assemble_whole(std::vector<StateTensor> state,
                                        Communicator& communicator) {
  for (StateTensor& tensor : state) {
    if (tensor.replicated) {
      tensor.flat = tensor.flat.cpu();
      continue;
    }
    const std::int64_t numel = c10::multiply_integers(tensor.shape);
    at::Tensor flat = at::zeros({numel}, at::TensorOptions(tensor.flat.scalar_type()));
    flat.narrow(0, tensor.begin, tensor.flat.numel()).copy_(tensor.flat);
    // Each bit is set on one rank at most.
    communicator.all_reduce(flat.view(at::kByte), ReduceOp::kBitOr).wait();
    tensor = {tensor.name, tensor.shape, 0, flat, true};
  }
  return state;
}

}  // namespace muster::internal
