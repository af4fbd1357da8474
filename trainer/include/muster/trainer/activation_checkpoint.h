// Activation checkpointing: time for memory.
#ifndef MUSTER_TRAINER_ACTIVATION_CHECKPOINT_H_
#define MUSTER_TRAINER_ACTIVATION_CHECKPOINT_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <functional>
#include <vector>

namespace muster {

using CheckpointedForward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// `forward(inputs)`, of which autograd keeps the inputs and not the activations: the backward pass
/// runs `forward` once more where it first needs one of them (Chen et al. 2016, non-reentrant). The
/// second run has the random stream, the autocast state and the buffers of `block` that the first
/// had, and leaves those of the outside as they are, so that gradients have the bits they have
/// without. Without gradients it is a plain call. Calls nest.
///
/// `forward` is called again from within backward(), on its thread; what it refers to, and `block`,
/// must live until then. It must do the same each time: backward() throws UserError when the second
/// run saves other tensors than the first, or when an input was changed in place between them.
std::vector<at::Tensor> activation_checkpoint(torch::nn::Module& block,
                                              const CheckpointedForward& forward,
                                              const std::vector<at::Tensor>& inputs);

/// The same for a module, or its holder, that has a `Tensor forward(Tensor)`.
template <typename Holder>
at::Tensor activation_checkpoint(const Holder& holder, const at::Tensor& input) {
  const auto module = holder.ptr();
  return activation_checkpoint(*module,
                               [module](const std::vector<at::Tensor>& inputs) {
                                 return std::vector<at::Tensor>{module->forward(inputs.front())};
                               },
                               {input})[0];
}

}  // namespace muster

#endif  // MUSTER_TRAINER_ACTIVATION_CHECKPOINT_H_
