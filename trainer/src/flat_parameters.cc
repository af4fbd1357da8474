// Collecting and flattening parameters.
#include "flat_parameters.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <torch/nn/module.h>

#include <unordered_set>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

void check_supported(const NamedTensor& parameter) {
  const at::Tensor& t = parameter.tensor;
  if (t.scalar_type() == at::kFloat && t.device().is_cpu() && t.layout() == at::kStrided) return;
  throw ConfigError("parameter '" + parameter.name +
                    "': expected dense float32 on the CPU, found " +
                    std::string(c10::toString(t.scalar_type())) + " on " + t.device().str() +
                    "; convert it in build_model(), or freeze it with requires_grad_(false)");
}

}  // namespace

ModuleTensors collect_tensors(torch::nn::Module& module) {
  ModuleTensors result;
  std::unordered_set<const c10::TensorImpl*> seen;
  for (const auto& item : module.named_parameters(/*recurse=*/true)) {
    if (!item.value().defined() || !seen.insert(item.value().unsafeGetTensorImpl()).second)
      continue;
    (item.value().requires_grad() ? result.trainable : result.frozen)
        .push_back({item.key(), item.value()});
  }
  for (const auto& item : module.named_buffers(/*recurse=*/true)) {
    if (!item.value().defined() || !seen.insert(item.value().unsafeGetTensorImpl()).second)
      continue;
    result.buffers.emplace_back(item.key(), item.value());
  }
  return result;
}

FlatParameters::FlatParameters(std::vector<NamedTensor> trainable) : named_(std::move(trainable)) {
  if (named_.empty()) {
    throw ConfigError(
        "model: expected at least one parameter that requires a gradient, found none; register "
        "parameters and "
        "submodules with register_parameter() and register_module()");
  }
  std::vector<std::int64_t> numels;
  for (const NamedTensor& parameter : named_) {
    check_supported(parameter);
    numels.push_back(parameter.tensor.numel());
  }
  layout_ = make_flat_layout(numels);
  values_ = at::zeros({layout_.numel}, at::TensorOptions(at::kFloat));
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < named_.size(); ++i) {
    at::Tensor& parameter = named_[i].tensor;
    const FlatRange range = layout_.parameters[i];
    at::Tensor view = values_.narrow(0, range.begin, range.numel()).view(parameter.sizes());
    view.copy_(parameter);
    parameter.set_data(view);
  }
}

std::vector<at::Tensor> FlatParameters::tensors() const {
  std::vector<at::Tensor> tensors;
  for (const NamedTensor& parameter : named_) tensors.push_back(parameter.tensor);
  return tensors;
}

}  // namespace muster::internal
