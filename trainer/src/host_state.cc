// Copies of what is not in host memory.
#include "host_state.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <utility>

namespace muster::internal {

HostState::HostState(std::vector<StateTensor> state, Contents contents)
    : tensors_(std::move(state)) {
  for (StateTensor& tensor : tensors_) {
    if (tensor.flat.is_cpu()) continue;
    at::Tensor on_host = contents == Contents::kValues
                             ? tensor.flat.cpu()
                             : at::empty_like(tensor.flat, at::TensorOptions(at::kCPU));
    copies_.push_back({std::exchange(tensor.flat, on_host), on_host});
  }
}

void HostState::give_back() const {
  const at::NoGradGuard no_grad;
  for (const Copy& copy : copies_) copy.original.copy_(copy.on_host);
}

}  // namespace muster::internal
