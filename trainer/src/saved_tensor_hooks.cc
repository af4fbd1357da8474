// An autograd engine that asks this thread's scopes.
#include "saved_tensor_hooks.h"

#include <torch/csrc/autograd/engine.h>

#include <utility>
#include <vector>

namespace muster::internal {
namespace {

thread_local std::vector<HooksMaker> t_makers;

class HookingEngine : public torch::autograd::Engine {
 public:
  ~HookingEngine() override { stop(); }
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    return t_makers.empty() ? nullptr : t_makers.back()();
  }
};

torch::autograd::Engine& hooking_engine() {
  static HookingEngine engine;
  return engine;
}

}  // namespace

SavedTensorScope::SavedTensorScope(HooksMaker maker) {
  // Only a program that uses scopes gets another engine than LibTorch's own.
  static const bool installed = [] {
    torch::autograd::set_default_engine_stub(hooking_engine);
    return true;
  }();
  static_cast<void>(installed);
  t_makers.push_back(std::move(maker));
}

SavedTensorScope::~SavedTensorScope() { t_makers.pop_back(); }

}  // namespace muster::internal
