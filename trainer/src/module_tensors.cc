// Walking a module.
#include "module_tensors.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/StorageImpl.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>
#include <sstream>
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

void check_leaf(const NamedTensor& parameter) {
  if (parameter.tensor.is_leaf()) return;
  throw ConfigError("parameter '" + parameter.name +
                    "': expected a leaf of autograd's graph, found the result of an operation, to "
                    "which no gradient comes; detach() it before register_parameter()");
}

void check_unshared_elements(const NamedTensor& parameter) {
  if (at::has_internal_overlap(parameter.tensor) != at::MemOverlap::Yes) return;
  throw ConfigError("parameter '" + parameter.name +
                    "': expected elements that each have memory of their own, found an expanded "
                    "tensor, whose elements would be trained apart; clone() it in build_model(), "
                    "or expand it in forward()");
}

/// The memory that a tensor lies in.
struct Extent {
  const c10::StorageImpl* storage;
  std::size_t begin;  // in bytes
  std::size_t end;
  const std::string* name;
  bool trainable;
};

void add_extent(const std::string& name, const at::Tensor& tensor, bool trainable,
                std::vector<Extent>& extents) {
  // One with holes may lie between another's elements.
  const bool dense = tensor.layout() == at::kStrided && tensor.is_non_overlapping_and_dense();
  if (!dense || tensor.numel() == 0) return;
  const auto begin = static_cast<std::size_t>(tensor.storage_offset()) * tensor.itemsize();
  extents.push_back(
      {tensor.storage().unsafeGetStorageImpl(), begin, begin + tensor.nbytes(), &name, trainable});
}

[[noreturn]] void refuse_overlap(const Extent& a, const Extent& b) {
  const bool both = a.trainable && b.trainable;
  throw ConfigError((both ? "parameters '" : "trained and other tensors '") + *a.name + "' and '" +
                    *b.name + "': expected memory of their own, found that they overlap; " +
                    (both ? "to tie two, register the same tensor under both names "
                            "(b->weight = a->weight)"
                          : "clone() one of them, or use the trained one in forward()"));
}

/// Those that are not trainable may overlap each other.
void check_apart(std::vector<Extent> extents) {
  const auto place = [](const Extent& extent) { return std::pair(extent.storage, extent.begin); };
  std::sort(extents.begin(), extents.end(),
            [&](const Extent& a, const Extent& b) { return place(a) < place(b); });
  // Of those so far the ones that reach furthest: [trainable].
  std::array<const Extent*, 2> furthest = {};
  for (const Extent& extent : extents) {
    for (const Extent*& before : furthest) {
      if (before != nullptr && before->storage != extent.storage) before = nullptr;
      const bool overlap = before != nullptr && extent.begin < before->end;
      if (overlap && (before->trainable || extent.trainable)) refuse_overlap(*before, extent);
    }
    const Extent*& before = furthest[extent.trainable ? 1 : 0];
    if (before == nullptr || before->end < extent.end) before = &extent;
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

void check_apart(const ModuleTensors& tensors) {
  std::vector<Extent> extents;
  for (const auto& [name, tensor] : tensors.trainable) add_extent(name, tensor, true, extents);
  for (const auto& [name, tensor] : tensors.frozen) add_extent(name, tensor, false, extents);
  for (const auto& [name, tensor] : tensors.buffers) add_extent(name, tensor, false, extents);
  check_apart(std::move(extents));
}

void make_contiguous(std::vector<NamedTensor>& tensors) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : tensors) {
    if (tensor.layout() != at::kStrided) {
      std::ostringstream found;
      found << tensor.layout();
      throw ConfigError("parameter '" + name + "': expected a dense tensor, found one of layout " +
                        found.str() + "; call to_dense() in build_model()");
    }
    if (!tensor.is_contiguous()) tensor.set_data(tensor.detach().contiguous());
  }
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
    check_leaf(parameter);
    check_unshared_elements(parameter);
    numels.push_back(parameter.tensor.numel());
  }
  check_apart({.trainable = trainable, .frozen = {}, .buffers = {}});
  return numels;
}

}  // namespace muster::internal
