// Walking a module.
#include "module_tensors.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/StorageImpl.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

void check_supported(const NamedTensor& parameter, at::Device device) {
  const at::Tensor& t = parameter.tensor;
  const bool placed = t.device() == device && (device.is_cpu() || device.is_cuda());
  if (t.scalar_type() == at::kFloat && placed && t.layout() == at::kStrided) return;
  throw ConfigError(
      "parameter '" + parameter.name + "': expected dense float32 on " +
      (device.is_cuda() ? device.str() + ", where the first parameter is" : "the CPU") +
      ", found " + std::string(c10::toString(t.scalar_type())) + " on " + t.device().str() +
      "; convert it in build_model(), or freeze it with requires_grad_(false)");
}

/// Each would get memory of its own, and what they share be lost.
void check_apart(const std::vector<NamedTensor>& parameters) {
  struct Extent {
    const c10::StorageImpl* storage;
    std::int64_t begin;  // in elements
    std::int64_t end;
    const std::string* name;
  };
  std::vector<Extent> extents;
  for (const auto& [name, tensor] : parameters) {
    // One with holes may lie between another's elements.
    if (tensor.numel() == 0 || !tensor.is_non_overlapping_and_dense()) continue;
    extents.push_back({tensor.storage().unsafeGetStorageImpl(), tensor.storage_offset(),
                       tensor.storage_offset() + tensor.numel(), &name});
  }
  const auto place = [](const Extent& extent) { return std::pair(extent.storage, extent.begin); };
  std::sort(extents.begin(), extents.end(),
            [&](const Extent& a, const Extent& b) { return place(a) < place(b); });
  for (std::size_t i = 1; i < extents.size(); ++i) {
    const Extent& before = extents[i - 1];
    if (extents[i].storage != before.storage || extents[i].begin >= before.end) continue;
    throw ConfigError("parameters '" + *before.name + "' and '" + *extents[i].name +
                      "': expected memory of their own, found that they overlap; to tie two, "
                      "register the same tensor under both names (b->weight = a->weight)");
  }
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

namespace {

void make_bfloat16(at::Tensor& tensor) {
  if (!tensor.is_floating_point()) return;
  const at::NoGradGuard no_grad;
  tensor.set_data(tensor.detach().to(at::kBFloat16));
}

}  // namespace

void make_bfloat16(std::vector<NamedTensor>& tensors) {
  for (NamedTensor& named : tensors) make_bfloat16(named.tensor);
}

void make_bfloat16(std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  for (auto& [name, tensor] : tensors) make_bfloat16(tensor);
}

std::vector<std::int64_t> checked_numels(const std::vector<NamedTensor>& trainable) {
  if (trainable.empty()) {
    throw ConfigError(
        "model: expected at least one parameter that requires a gradient, found none; register "
        "parameters and submodules with register_parameter() and register_module()");
  }
  std::vector<std::int64_t> numels;
  for (const NamedTensor& parameter : trainable) {
    check_supported(parameter, trainable.front().tensor.device());
    numels.push_back(parameter.tensor.numel());
  }
  check_apart(trainable);
  return numels;
}

}  // namespace muster::internal
