// Copying there and back.
#include "device/shadow_communicator.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <functional>
#include <utility>

#include "device/gpu.h"

namespace muster::testing {
namespace {

/// Copies back at the end, once.
class ShadowWork : public internal::WorkState {
 public:
  ShadowWork(Work work, std::function<void()> finish)
      : work_(std::move(work)), finish_(std::move(finish)) {}

  bool done() const override { return work_.done(); }
  void wait() override {
    work_.wait();
    if (finish_) std::exchange(finish_, nullptr)();
  }
  bool wait_for(std::chrono::milliseconds timeout) override {
    if (!work_.wait_for(timeout)) return false;
    wait();
    return true;
  }

 private:
  Work work_;
  std::function<void()> finish_;
};

// tensor.narrow() would need LibTorch's CUDA library.
at::Tensor slice(const at::Tensor& whole, std::int64_t begin, std::int64_t numel) {
  auto* const data = static_cast<std::byte*>(whole.mutable_data_ptr());
  return at::from_blob(
      data + begin * whole.element_size(), {numel}, [whole](void*) {}, whole.options(),
      whole.device());
}

const void* storage_of(const at::Tensor& tensor) { return tensor.storage().data(); }

}  // namespace

class ShadowCommunicator::Shadows : public std::enable_shared_from_this<Shadows> {
 public:
  Shadows(const Symmetric& symmetric, int device) : symmetric_(symmetric), device_(device) {}

  /// The shadow of a tensor, filled.
  at::Tensor of(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    const at::Tensor shadow = slice(whole(tensor), tensor.storage_offset(), tensor.numel());
    copy_tensor(shadow, tensor);
    pairs_.push_back({tensor, shadow});
    return shadow;
  }

  std::vector<at::Tensor> of(const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> all;
    for (const at::Tensor& tensor : tensors) all.push_back(of(tensor));
    return all;
  }

  /// `work` on these shadows.
  Work follow(Work work) {
    return Work(std::make_shared<ShadowWork>(std::move(work), [self = shared_from_this()] {
      for (const auto& [tensor, shadow] : self->pairs_) copy_tensor(tensor, shadow);
    }));
  }

 private:
  // Of the tensor's whole storage.
  at::Tensor whole(const at::Tensor& tensor) {
    const auto known = symmetric_.find(storage_of(tensor));
    if (known != symmetric_.end()) return known->second;
    at::Tensor& shadow = ordinary_[storage_of(tensor)];
    if (!shadow.defined()) {
      const auto bytes = static_cast<std::int64_t>(tensor.storage().nbytes());
      shadow = gpu_tensor(device_, bytes / tensor.element_size(), tensor.scalar_type());
    }
    return shadow;
  }

  const Symmetric& symmetric_;
  const int device_;
  Symmetric ordinary_;
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;
};

ShadowCommunicator::ShadowCommunicator(std::unique_ptr<Communicator> communicator, int device)
    : Communicator(communicator->rank(), communicator->world_size(),
                   {communicator->generation(), communicator->previous_ranks()}),
      communicator_(std::move(communicator)),
      device_(device) {}

std::shared_ptr<ShadowCommunicator::Shadows> ShadowCommunicator::shadows() const {
  return std::make_shared<Shadows>(symmetric_, device_);
}

Work ShadowCommunicator::all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->all_reduce(there->of(output), from, op));
}

Work ShadowCommunicator::reduce(at::Tensor output, at::Tensor input, int root, ReduceOp op) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->reduce(there->of(output), from, root, op));
}

Work ShadowCommunicator::reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->reduce_scatter(there->of(output), from, op));
}

Work ShadowCommunicator::all_gather(at::Tensor output, at::Tensor input) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->all_gather(there->of(output), from));
}

Work ShadowCommunicator::all_gather(at::Tensor output, at::Tensor input,
                                    const std::vector<std::int64_t>& counts) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->all_gather(there->of(output), from, counts));
}

Work ShadowCommunicator::broadcast(at::Tensor tensor, int root) {
  const auto there = shadows();
  return there->follow(communicator_->broadcast(there->of(tensor), root));
}

Work ShadowCommunicator::scatter(at::Tensor output, at::Tensor input, int root) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->scatter(there->of(output), from, root));
}

Work ShadowCommunicator::gather(at::Tensor output, at::Tensor input, int root) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->gather(there->of(output), from, root));
}

Work ShadowCommunicator::all_to_all(at::Tensor output, at::Tensor input) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(communicator_->all_to_all(there->of(output), from));
}

Work ShadowCommunicator::all_to_all(at::Tensor output,
                                    const std::vector<std::int64_t>& output_counts,
                                    at::Tensor input,
                                    const std::vector<std::int64_t>& input_counts) {
  const auto there = shadows();
  const at::Tensor from = there->of(input);
  return there->follow(
      communicator_->all_to_all(there->of(output), output_counts, from, input_counts));
}

Work ShadowCommunicator::send(at::Tensor tensor, int peer) {
  const auto there = shadows();
  return there->follow(communicator_->send(there->of(tensor), peer));
}

Work ShadowCommunicator::recv(at::Tensor tensor, int peer) {
  const auto there = shadows();
  return there->follow(communicator_->recv(there->of(tensor), peer));
}

Work ShadowCommunicator::canonical_all_reduce(std::vector<at::Tensor> partials,
                                              const ReductionTree& tree) {
  const auto there = shadows();
  return there->follow(communicator_->canonical_all_reduce(there->of(partials), tree));
}

Work ShadowCommunicator::canonical_reduce_scatter(at::Tensor output,
                                                  std::vector<at::Tensor> partials,
                                                  const ReductionTree& tree) {
  const auto there = shadows();
  const auto from = there->of(partials);
  return there->follow(communicator_->canonical_reduce_scatter(there->of(output), from, tree));
}

// An empty one has no storage to know it by.
at::Tensor ShadowCommunicator::allocate_symmetric(std::int64_t numel, at::ScalarType dtype) {
  const at::Tensor tensor = at::zeros({numel}, at::TensorOptions().dtype(dtype));
  const at::Tensor shadow = communicator_->allocate_symmetric(numel, dtype);
  EXPECT_EQ(shadow.device().type(), at::kCUDA);
  if (numel > 0) symmetric_[storage_of(tensor)] = shadow;
  kept_.push_back(tensor);
  return tensor;
}

std::unique_ptr<Communicator> ShadowCommunicator::split(int color, int key) {
  auto part = communicator_->split(color, key);
  if (!part) return nullptr;
  return std::make_unique<ShadowCommunicator>(std::move(part), device_);
}

std::unique_ptr<Communicator> ShadowCommunicator::shrink(std::chrono::milliseconds deadline) {
  return std::make_unique<ShadowCommunicator>(communicator_->shrink(deadline), device_);
}

std::unique_ptr<Communicator> ShadowCommunicator::replace(std::chrono::milliseconds deadline) {
  return std::make_unique<ShadowCommunicator>(communicator_->replace(deadline), device_);
}

}  // namespace muster::testing
