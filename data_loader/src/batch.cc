// Look-up in a batch by name.
#include "muster/data_loader/batch.h"

#include "muster/base/error.h"

namespace muster {

const at::Tensor& Batch::operator[](std::string_view name) const {
  for (const auto& [tensor_name, tensor] : tensors) {
    if (tensor_name == name) return tensor;
  }
  std::string names;
  for (const auto& [tensor_name, tensor] : tensors) {
    names += (names.empty() ? "\"" : ", \"") + tensor_name + "\"";
  }
  if (names.empty()) names = "none (a batch of 0 samples has no tensors: skip it)";
  throw ConfigError("expected a tensor named \"" + std::string(name) + "\" in the batch; found: " +
                    names + ". Ask for one of these, or add it in the dataset");
}

}  // namespace muster
