// What autograd does with a tensor that an operation saves for its backward.
#ifndef MUSTER_TRAINER_SRC_SAVED_TENSOR_HOOKS_H_
#define MUSTER_TRAINER_SRC_SAVED_TENSOR_HOOKS_H_

#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <functional>
#include <memory>

namespace muster::internal {

using HooksMaker = std::function<std::unique_ptr<torch::autograd::SavedVariableHooks>()>;

/// While it lives, tensors that operations of this thread save go to hooks made by `maker`, one
/// object a tensor. Scopes nest: the innermost has them. LibTorch offers this to Python alone; what
/// serves here is the one place where its autograd engine asks for such hooks, which is virtual.
/// https://github.com/pytorch/pytorch/blob/v2.11.0/torch/csrc/autograd/engine.h
class SavedTensorScope {
 public:
  explicit SavedTensorScope(HooksMaker maker);
  ~SavedTensorScope();
  SavedTensorScope(const SavedTensorScope&) = delete;
  SavedTensorScope& operator=(const SavedTensorScope&) = delete;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_SAVED_TENSOR_HOOKS_H_
