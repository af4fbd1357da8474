// A module's tensors by their part in training.
#ifndef MUSTER_TRAINER_SRC_MODULE_TENSORS_H_
#define MUSTER_TRAINER_SRC_MODULE_TENSORS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
}

namespace muster::internal {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// A tensor registered under several names is listed under the first.
struct ModuleTensors {
  std::vector<NamedTensor> trainable;
  std::vector<NamedTensor> frozen;  ///< Parameters that need no gradient.
  std::vector<std::pair<std::string, at::Tensor>> buffers;
};

ModuleTensors collect_tensors(torch::nn::Module& module);

/// Throws ConfigError naming two that overlap and of which one is trainable: it gets memory of its
/// own, and what they share would be lost.
void check_apart(const ModuleTensors& tensors);

/// In place: each tensor object stays. Throws ConfigError for one that is not dense, naming it.
void make_contiguous(std::vector<NamedTensor>& tensors);

/// Those of floating point become bfloat16, in place: each tensor object stays.
void make_bfloat16(std::vector<NamedTensor>& tensors);
void make_bfloat16(std::vector<std::pair<std::string, at::Tensor>>& tensors);

/// Throws ConfigError for any that is not dense float32, on the CPU or on one GPU with all others,
/// naming it, or when there is none. Returns the sizes.
std::vector<std::int64_t> checked_numels(const std::vector<NamedTensor>& trainable);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_MODULE_TENSORS_H_
