// Names matched, then bytes moved.
#include "muster/trainer/module_file.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/nn/module.h>

#include <cstring>
#include <sstream>
#include <unordered_map>
#include <utility>
#include <vector>

#include "module_tensors.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/safetensors.h"
#include "tensor_dtype.h"

namespace muster {
namespace {

using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsFile;
using checkpoint::TensorRange;
using internal::NamedTensor;

/// Each once, under its first name.
std::vector<NamedTensor> tensors_of(torch::nn::Module& module) {
  internal::ModuleTensors all = internal::collect_tensors(module);
  std::vector<NamedTensor> tensors = std::move(all.trainable);
  tensors.insert(tensors.end(), all.frozen.begin(), all.frozen.end());
  for (const auto& [name, buffer] : all.buffers) tensors.push_back({name, buffer});
  return tensors;
}

/// All names, also the second ones of tied tensors.
std::unordered_map<std::string, at::Tensor> tensors_by_name(torch::nn::Module& module) {
  std::unordered_map<std::string, at::Tensor> tensors;
  for (const auto& item : module.named_parameters()) tensors[item.key()] = item.value();
  for (const auto& item : module.named_buffers()) tensors[item.key()] = item.value();
  return tensors;
}

std::string problem_with(const std::string& name, const SafetensorsEntry& entry,
                         const at::Tensor& tensor) {
  const std::string what = "'" + name + "': expected ";
  const auto found = [&](const auto& expected, const auto& actual) {
    std::ostringstream text;
    text << what << expected << ", found " << actual;
    return text.str();
  };
  if (tensor.sizes() != at::IntArrayRef(entry.shape))
    return found(tensor.sizes(), at::IntArrayRef(entry.shape));
  const at::ScalarType type = internal::to_scalar_type(entry.dtype);
  if (type != tensor.scalar_type() &&
      !(at::isFloatingType(type) && at::isFloatingType(tensor.scalar_type())))
    return found(tensor.scalar_type(), type);
  return "";
}

/// What of the file goes into which tensor. Throws ConfigError with everything that does not fit.
std::vector<std::pair<std::string, at::Tensor>> match(torch::nn::Module& module,
                                                      const SafetensorsFile& file) {
  const auto by_name = tensors_by_name(module);
  std::vector<std::pair<std::string, at::Tensor>> matched;
  std::unordered_map<const c10::TensorImpl*, bool> filled;
  std::string problems;
  const auto note = [&](const std::string& problem) {
    if (!problem.empty()) problems += (problems.empty() ? "" : "; ") + problem;
  };
  for (const auto& [name, entry] : file.tensors()) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      note("'" + name + "': expected no such tensor, found one");
      continue;
    }
    note(problem_with(name, entry, found->second));
    filled[found->second.unsafeGetTensorImpl()] = true;
    matched.emplace_back(name, found->second);
  }
  for (const NamedTensor& tensor : tensors_of(module)) {
    if (!filled[tensor.tensor.unsafeGetTensorImpl()])
      note("'" + tensor.name + "': expected it in the file, found nothing");
  }
  if (problems.empty()) return matched;
  throw ConfigError(file.path().string() + ": " + problems + "; give a file of this model");
}

}  // namespace

void load_module(torch::nn::Module& module, const std::filesystem::path& path) {
  const auto env = make_system_env();
  const SafetensorsFile file = SafetensorsFile::open(path, *env);
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : match(module, file)) {
    const TensorRange range = file.whole(name);
    const at::Tensor values =
        at::empty(range.shape, at::TensorOptions(internal::to_scalar_type(range.dtype)));
    file.read(range, values.mutable_data_ptr());
    tensor.copy_(values);
  }
}

void save_module(torch::nn::Module& module, const std::filesystem::path& path,
                 const std::map<std::string, std::string>& metadata) {
  std::map<std::string, at::Tensor> tensors;
  std::vector<TensorRange> ranges;
  for (const auto& [name, tensor] : tensors_of(module)) {
    tensors[name] = tensor.detach();
    ranges.push_back(checkpoint::whole_tensor(name, internal::to_dtype(name, tensor.scalar_type()),
                                              tensor.sizes().vec()));
  }
  const auto env = make_system_env();
  checkpoint::write_safetensors(
      path, std::move(ranges), metadata,
      [&](const TensorRange& range, void* out) {
        // A copy, since the memory of sharded parameters goes again; one at a time.
        const at::Tensor& original = tensors.at(range.name);
        const at::Tensor tensor =
            at::empty(original.sizes(), original.options().device(at::kCPU)).copy_(original);
        const auto* bytes = static_cast<const char*>(tensor.const_data_ptr());
        std::memcpy(out, bytes + range.begin * tensor.element_size(),
                    static_cast<std::size_t>(range.bytes()));
      },
      *env);
}

}  // namespace muster
