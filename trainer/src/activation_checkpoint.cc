// A checkpointed block: its inputs, and how to have its activations again.
#include "muster/trainer/activation_checkpoint.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/equal.h>
#include <c10/core/GradMode.h>
#include <c10/util/StringUtil.h>

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "muster/base/error.h"
#include "saved_tensor_hooks.h"

namespace muster {
namespace {

/// Autocast as it was when this was made, or, in a scope, as it is to be again.
class AutocastState {
 public:
  AutocastState() : cache_enabled_(at::autocast::is_autocast_cache_enabled()) {
    for (std::size_t i = 0; i < kDevices.size(); ++i) {
      enabled_[i] = at::autocast::is_autocast_enabled(kDevices[i]);
      dtypes_[i] = at::autocast::get_autocast_dtype(kDevices[i]);
    }
  }

  void set() const {
    for (std::size_t i = 0; i < kDevices.size(); ++i) {
      at::autocast::set_autocast_enabled(kDevices[i], enabled_[i]);
      at::autocast::set_autocast_dtype(kDevices[i], dtypes_[i]);
    }
    at::autocast::set_autocast_cache_enabled(cache_enabled_);
  }

 private:
  static constexpr std::array kDevices = {at::kCPU, at::kCUDA};
  std::array<bool, kDevices.size()> enabled_{};
  std::array<c10::ScalarType, kDevices.size()> dtypes_{};
  bool cache_enabled_;
};

/// The state of the generators that random operations on these tensors draw from.
class RandomState {
 public:
  explicit RandomState(const std::vector<at::Tensor>& tensors) {
    add(at::Device(at::kCPU));
    for (const at::Tensor& tensor : tensors) {
      if (tensor.defined() && tensor.is_cuda()) add(tensor.device());
    }
  }

  void set() const {
    for (const auto& [device, state] : states_) {
      at::Generator generator = at::globalContext().defaultGenerator(device);
      const std::lock_guard lock(generator.mutex());
      generator.set_state(state);
    }
  }

 private:
  void add(at::Device device) {
    for (const auto& [known, state] : states_) {
      if (known == device) return;
    }
    at::Generator generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    states_.emplace_back(device, generator.get_state());
  }

  std::vector<std::pair<at::Device, at::Tensor>> states_;
};

std::vector<at::Tensor> copies_of(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : tensors) copies.push_back(tensor.detach().clone());
  return copies;
}

at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.detach().contiguous().view(-1).view(at::kByte);
}

/// All that a forward pass depends on besides its inputs and parameters.
struct Surroundings {
  Surroundings(const torch::nn::Module& block, const std::vector<at::Tensor>& inputs)
      : buffers(block.buffers()), buffer_values(copies_of(buffers)), random(inputs) {}

  /// By its bytes, since batch norm writes past the count of versions.
  bool has_changed(std::size_t i) const {
    return !at::equal(bytes_of(buffers[i]), bytes_of(buffer_values[i]));
  }

  void set() const {
    const at::NoGradGuard no_grad;
    // What is as it was is left alone: others may have saved it.
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      if (has_changed(i)) buffers[i].detach().copy_(buffer_values[i]);
    }
    random.set();
    autocast.set();
  }

  std::vector<at::Tensor> buffers, buffer_values;
  RandomState random;
  AutocastState autocast;
};

/// Gives back on leaving what it found on entering.
class SurroundingsScope {
 public:
  SurroundingsScope(const torch::nn::Module& block, const std::vector<at::Tensor>& inputs,
                    const Surroundings& wanted)
      : found_(block, inputs) {
    at::autocast::increment_nesting();
    wanted.set();
  }
  ~SurroundingsScope() {
    found_.set();
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  }
  SurroundingsScope(const SurroundingsScope&) = delete;
  SurroundingsScope& operator=(const SurroundingsScope&) = delete;

  /// Whether leaving gives the tensor other values, since a buffer is in the same memory.
  bool will_change(const at::Tensor& tensor) const {
    for (std::size_t i = 0; i < found_.buffers.size(); ++i) {
      if (tensor.is_alias_of(found_.buffers[i]) && found_.has_changed(i)) return true;
    }
    return false;
  }

 private:
  Surroundings found_;
};

std::uint32_t version_of(const at::Tensor& tensor) {
  return tensor.defined() && !tensor.is_inference() ? tensor._version() : 0;
}

/// A tensor, and how often it had been changed in place when it was kept.
struct Kept {
  explicit Kept(at::Tensor kept) : tensor(std::move(kept)), version(version_of(tensor)) {}
  bool changed() const { return version_of(tensor) != version; }

  at::Tensor tensor;
  std::uint32_t version;
};

/// Takes the tensors that the second run saves.
class CollectingHooks : public torch::autograd::SavedVariableHooks {
 public:
  explicit CollectingHooks(std::shared_ptr<std::vector<Kept>> collected)
      : collected_(std::move(collected)) {}
  void call_pack_hook(const at::Tensor& tensor) override {
    index_ = collected_->size();
    collected_->emplace_back(tensor.detach());
  }
  at::Tensor call_unpack_hook() override { return collected_->at(index_).tensor; }

 private:
  std::shared_ptr<std::vector<Kept>> collected_;
  std::size_t index_ = 0;
};

class Checkpoint : public std::enable_shared_from_this<Checkpoint> {
 public:
  Checkpoint(torch::nn::Module& block, CheckpointedForward forward, std::vector<at::Tensor> inputs)
      : block_(block),
        forward_(std::move(forward)),
        inputs_(std::move(inputs)),
        surroundings_(block_, inputs_) {
    for (const at::Tensor& input : inputs_) kept_inputs_.emplace_back(input);
  }

  std::vector<at::Tensor> run();

  /// A tensor was saved: its place in the order of saving. Keeps no reference to it.
  std::size_t add(const at::Tensor& tensor) {
    shapes_.push_back({tensor.sizes().vec(), tensor.scalar_type()});
    return shapes_.size() - 1;
  }
  at::Tensor get(std::size_t index) {
    if (again_.empty() || !again_[index].defined()) run_again();
    return again_[index];
  }
  /// Nobody will ask for it any more.
  void drop(std::size_t index) {
    if (index < again_.size()) again_[index].reset();
  }

 private:
  struct Shape {
    std::vector<std::int64_t> sizes;
    c10::ScalarType dtype;
    bool operator==(const Shape& other) const {
      return sizes == other.sizes && dtype == other.dtype;
    }
  };

  void run_again();
  void check_inputs() const;
  void check_saved(const std::vector<Kept>& found) const;
  [[noreturn]] void refuse(const std::string& text) const {
    throw UserError("activation checkpoint of " + block_.name() + ": " + text);
  }

  torch::nn::Module& block_;
  CheckpointedForward forward_;
  std::vector<at::Tensor> inputs_;
  Surroundings surroundings_;
  std::vector<Kept> kept_inputs_;
  std::vector<Shape> shapes_;      // of what the first run saved, in order
  std::vector<at::Tensor> again_;  // what the second run saved
};

/// Stands for a tensor that the first run saved.
class CheckpointHooks : public torch::autograd::SavedVariableHooks {
 public:
  explicit CheckpointHooks(std::shared_ptr<Checkpoint> checkpoint)
      : checkpoint_(std::move(checkpoint)) {}
  ~CheckpointHooks() override {
    if (index_) checkpoint_->drop(*index_);
  }
  CheckpointHooks(const CheckpointHooks&) = delete;
  CheckpointHooks& operator=(const CheckpointHooks&) = delete;
  void call_pack_hook(const at::Tensor& tensor) override { index_ = checkpoint_->add(tensor); }
  at::Tensor call_unpack_hook() override { return checkpoint_->get(index_.value()); }

 private:
  std::shared_ptr<Checkpoint> checkpoint_;
  std::optional<std::size_t> index_;
};

std::vector<at::Tensor> Checkpoint::run() {
  const internal::SavedTensorScope scope(
      [self = shared_from_this()] { return std::make_unique<CheckpointHooks>(self); });
  return forward_(inputs_);
}

void Checkpoint::run_again() {
  check_inputs();
  // Of its own graph: what it makes ends here, save for the tensors collected.
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& input : inputs_) {
    inputs.push_back(input.defined() ? input.detach().requires_grad_(input.requires_grad())
                                     : input);
  }
  auto collected = std::make_shared<std::vector<Kept>>();
  {
    const SurroundingsScope as_before(block_, inputs_, surroundings_);
    const internal::SavedTensorScope scope(
        [collected] { return std::make_unique<CollectingHooks>(collected); });
    const at::AutoGradMode with_graph(true);
    forward_(inputs);
    check_saved(*collected);
    for (Kept& kept : *collected) {
      if (as_before.will_change(kept.tensor)) kept.tensor = kept.tensor.detach().clone();
    }
  }
  again_.clear();
  for (Kept& kept : *collected) again_.push_back(std::move(kept.tensor));
}

void Checkpoint::check_inputs() const {
  for (std::size_t i = 0; i < kept_inputs_.size(); ++i) {
    if (!kept_inputs_[i].changed()) continue;
    refuse("expected input " + std::to_string(i) +
           " as it was in the forward pass, found it changed in place; clone it before");
  }
}

void Checkpoint::check_saved(const std::vector<Kept>& found) const {
  const char* advice =
      "; the forward pass must do the same each time: make its branches depend on inputs alone";
  if (found.size() != shapes_.size()) {
    refuse("expected " + std::to_string(shapes_.size()) +
           " tensors saved by the second run, as by the first, found " +
           std::to_string(found.size()) + advice);
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const at::Tensor& tensor = found[i].tensor;
    if (!(Shape{tensor.sizes().vec(), tensor.scalar_type()} == shapes_[i])) {
      refuse(
          "expected the second run to save tensors of the same shapes and dtypes as the first, "
          "found another at place " +
          std::to_string(i) + advice);
    }
    if (found[i].changed()) {
      refuse("expected what an operation saved to stay as it is, found a tensor of shape " +
             c10::str(tensor.sizes()) + " changed in place later in the block; clone it before");
    }
  }
}

}  // namespace

std::vector<at::Tensor> activation_checkpoint(torch::nn::Module& block,
                                              const CheckpointedForward& forward,
                                              const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return forward(inputs);
  return std::make_shared<Checkpoint>(block, forward, inputs)->run();
}

}  // namespace muster
