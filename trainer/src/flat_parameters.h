// A module's trainable parameters in one flat storage; the parameters become views of it.
#ifndef MUSTER_TRAINER_SRC_FLAT_PARAMETERS_H_
#define MUSTER_TRAINER_SRC_FLAT_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "flat_layout.h"

namespace torch::nn {
class Module;
}

namespace muster::internal {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// A module's tensors by their part in training. A tensor registered under several names is listed
/// under the first.
struct ModuleTensors {
  std::vector<NamedTensor> trainable;
  std::vector<NamedTensor> frozen;  ///< Parameters that need no gradient.
  std::vector<std::pair<std::string, at::Tensor>> buffers;
};

ModuleTensors collect_tensors(torch::nn::Module& module);

class FlatParameters {
 public:
  /// Moves the parameters' values, in place: each tensor object stays, its storage is ours. Throws
  /// ConfigError for any that is not float32 on the CPU, naming it, or when there is none.
  explicit FlatParameters(std::vector<NamedTensor> trainable);

  const FlatLayout& layout() const { return layout_; }
  const std::vector<NamedTensor>& named() const { return named_; }
  std::vector<at::Tensor> tensors() const;
  /// [layout().numel] float32; padding is zero.
  at::Tensor& values() { return values_; }

 private:
  std::vector<NamedTensor> named_;
  FlatLayout layout_;
  at::Tensor values_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FLAT_PARAMETERS_H_
