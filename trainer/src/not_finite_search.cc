// Watching operations by LibTorch's RecordFunction.
#include "not_finite_search.h"

#include <ATen/core/List.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/record_function.h>
#include <torch/nn/module.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::internal {
namespace {

bool has_nan(const at::Tensor& tensor) { return at::isnan(tensor).any().item<bool>(); }
bool all_finite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

bool is_number(const at::Tensor& tensor) {
  return tensor.defined() && tensor.is_floating_point() && tensor.layout() == at::kStrided;
}

template <typename F>
void for_each_tensor(const c10::IValue& value, const F& f) {
  if (value.isTensor()) {
    f(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) f(tensor);
  } else if (value.isTuple()) {
    for (const c10::IValue& element : value.toTupleRef().elements()) for_each_tensor(element, f);
  }
}

/// Operations whose output is not initialised.
bool gives_garbage(std::string_view operation) {
  constexpr std::array<std::string_view, 3> kPrefixes = {"aten::empty", "aten::new_empty",
                                                         "aten::resize"};
  for (const std::string_view prefix : kPrefixes) {
    if (operation.starts_with(prefix)) return true;
  }
  return false;
}

bool is_finite(const c10::IValue& value) {
  if (value.isDouble()) return std::isfinite(value.toDouble());
  bool finite = true;
  for_each_tensor(value, [&](const at::Tensor& tensor) {
    finite = finite && (!is_number(tensor) || all_finite(tensor));
  });
  return finite;
}

/// The modules' own parameters, by where they lie in their storages: not by addresses, which
/// parameters that are sharded do not always have.
class ParameterPlaces {
 public:
  explicit ParameterPlaces(const torch::nn::Module& module) {
    for (const auto& item : module.named_parameters()) {
      const at::Tensor& parameter = item.value();
      if (!parameter.defined() || parameter.numel() == 0) continue;
      const std::int64_t begin = byte_offset(parameter);
      const std::size_t dot = item.key().rfind('.');
      places_.push_back({parameter.storage().unsafeGetStorageImpl(), begin,
                         begin + static_cast<std::int64_t>(parameter.nbytes()),
                         dot == std::string::npos ? "itself" : item.key().substr(0, dot)});
    }
  }

  /// The module that `tensor` (a parameter, or a view of one) belongs to; nullptr when there is
  /// none.
  const std::string* module_of(const at::Tensor& tensor) const {
    if (!is_number(tensor) || tensor.numel() == 0) return nullptr;
    const std::int64_t offset = byte_offset(tensor);
    for (const auto& [storage, begin, end, module] : places_) {
      if (storage == tensor.storage().unsafeGetStorageImpl() && begin <= offset && offset < end)
        return &module;
    }
    return nullptr;
  }

 private:
  struct Place {
    const c10::StorageImpl* storage;
    std::int64_t begin;  // in bytes
    std::int64_t end;
    std::string module;
  };
  static std::int64_t byte_offset(const at::Tensor& tensor) {
    return tensor.storage_offset() * static_cast<std::int64_t>(tensor.itemsize());
  }

  std::vector<Place> places_;
};

/// What LibTorch tells of the operations that the watched code itself calls; those that an
/// operation is made of are left out.
class Watch {
 public:
  explicit Watch(const ParameterPlaces& parameters) : parameters_(parameters) {
    previous_ = std::exchange(active_, this);
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&Watch::start, &Watch::end)
                                             .needsInputs(true)
                                             .needsOutputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  ~Watch() {
    at::removeCallback(handle_);
    active_ = previous_;
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  const std::string& found() const { return found_; }

 private:
  static std::unique_ptr<at::ObserverContext> start(const at::RecordFunction& operation) {
    if (active_ != nullptr && active_->depth_++ == 0) active_->begins(operation);
    return nullptr;
  }
  static void end(const at::RecordFunction& operation, at::ObserverContext*) {
    if (active_ != nullptr && --active_->depth_ == 0) active_->ended(operation);
  }

  void begins(const at::RecordFunction& operation) {
    // What is asked here are operations as well.
    at::DisableRecordFunctionGuard unwatched;
    reads_parameters_ = false;
    inputs_finite_ = true;
    for (const c10::IValue& input : operation.inputs()) {
      inputs_finite_ = inputs_finite_ && is_finite(input);
      for_each_tensor(input, [&](const at::Tensor& tensor) {
        if (const std::string* module = parameters_.module_of(tensor)) {
          module_ = *module;
          reads_parameters_ = true;
        }
      });
    }
  }

  void ended(const at::RecordFunction& operation) {
    if (!found_.empty() || gives_garbage(operation.name())) return;
    at::DisableRecordFunctionGuard unwatched;
    for (const c10::IValue& output : operation.outputs()) {
      for_each_tensor(output, [&](const at::Tensor& tensor) {
        if (!is_number(tensor) || all_finite(tensor)) return;
        // What was infinite before it, a mask say, may be so on purpose.
        if (found_.empty() && (inputs_finite_ || has_nan(tensor)))
          found_ = describe(operation.name());
      });
    }
  }

  std::string describe(const std::string& operation) const {
    if (reads_parameters_) return "the output of module '" + module_ + "' (" + operation + ")";
    return "the output of " + operation +
           (module_.empty() ? ", before any module" : ", after module '" + module_ + "'");
  }

  static thread_local Watch* active_;  // callbacks are plain functions
  Watch* previous_ = nullptr;
  at::CallbackHandle handle_ = at::INVALID_CALLBACK_HANDLE;
  const ParameterPlaces& parameters_;
  int depth_ = 0;
  bool reads_parameters_ = false;
  bool inputs_finite_ = true;
  std::string module_;  // whose parameters were read last
  std::string found_;
};

thread_local Watch* Watch::active_ = nullptr;

}  // namespace

std::string find_not_finite(const torch::nn::Module& module, const Batch& batch,
                            const std::function<void()>& forward) {
  for (const auto& [name, tensor] : batch.tensors) {
    if (is_number(tensor) && !all_finite(tensor)) return "'" + name + "' of the batch";
  }
  for (const auto& item : module.named_parameters()) {
    if (is_number(item.value()) && !all_finite(item.value()))
      return "parameter '" + item.key() + "'";
  }
  const ParameterPlaces parameters(module);
  std::string found;
  {
    Watch watch(parameters);
    try {
      forward();
    } catch (const std::exception&) {
      return "unknown: the same forward pass threw the second time";
    }
    found = watch.found();
  }
  return found.empty() ? "unknown: the same forward pass was finite the second time" : found;
}

}  // namespace muster::internal
