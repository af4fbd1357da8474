// The key, its fallback, and the tensors that carry it.
#include "parameter_access.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

/// Lives as long as a tensor of the memory does.
struct WatchedMemory::Watch {
  std::shared_ptr<void> memory;
  std::int64_t element_bytes;
  AccessListener* listener;  // null when nobody listens any more
};

namespace {

// LibTorch keeps this key for tests and uses it nowhere. It is above those of autograd and
// autocast, so that each operation is seen once, as the user called it.
constexpr c10::DispatchKey kKey = c10::DispatchKey::TESTING_ONLY_GenericWrapper;

}  // namespace

// What the storage's memory is released by tells whose it is.
void WatchedMemory::end_watch(void* watch) { delete static_cast<std::shared_ptr<Watch>*>(watch); }

/// Null for a tensor that is not watched.
const WatchedMemory::Watch* watch_of(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.key_set().has(kKey) || !tensor.has_storage()) return nullptr;
  const auto* watch =
      tensor.storage().data_ptr().cast_context<std::shared_ptr<WatchedMemory::Watch>>(
          &WatchedMemory::end_watch);
  if (watch == nullptr) return nullptr;
  if ((*watch)->listener != nullptr) return watch->get();
  throw UserError(
      "parameter: expected the Engine that holds it, since its values are sharded over ranks, "
      "found none; keep the engine, or take Engine::whole_state() first");
}

namespace {

/// The operation's watched tensors, by what hears of them.
class Accesses {
 public:
  explicit Accesses(const c10::OperatorHandle& operation) : operation_(operation) {}

  void add(const c10::IValue& value, bool writes) {
    if (value.isTensor()) {
      add(value.toTensor(), writes);
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorList()) add(tensor, writes);
    } else if (value.isList()) {
      for (const c10::IValue& element : value.toListRef()) add(element, writes);
    }
  }

  void tell() const {
    if (listener_ != nullptr) listener_->before(access_);
  }

 private:
  void add(const at::Tensor& tensor, bool writes) {
    const auto* const watch = watch_of(tensor);
    if (watch == nullptr) return;
    if (listener_ != nullptr && watch->listener != listener_) {
      throw UserError(operation_.schema().name() +
                      ": expected parameters of one Engine, found those of two");
    }
    if (listener_ == nullptr) access_.operation = operation_.schema().name();
    listener_ = watch->listener;
    if (tensor.numel() == 0) return;
    std::int64_t end = tensor.storage_offset() + 1;
    for (std::int64_t d = 0; d < tensor.dim(); ++d) end += (tensor.size(d) - 1) * tensor.stride(d);
    // A view of another dtype has elements of another size.
    const auto item = static_cast<std::int64_t>(tensor.itemsize());
    const FlatRange range{tensor.storage_offset() * item / watch->element_bytes,
                          (end * item - 1) / watch->element_bytes + 1};
    (writes ? access_.writes : access_.reads).push_back(range);
  }

  const c10::OperatorHandle& operation_;
  AccessListener* listener_ = nullptr;
  Access access_;
};

void fallback(const c10::OperatorHandle& operation, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& arguments = operation.schema().arguments();
  Accesses accesses(operation);
  const auto values = torch::jit::last(*stack, arguments.size());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::AliasInfo* alias = arguments[i].alias_info();
    accesses.add(values[i], alias != nullptr && alias->isWrite());
  }
  accesses.tell();
  const c10::impl::ExcludeDispatchKeyGuard once(kKey);
  operation.callBoxed(*stack);
}

}  // namespace

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericWrapper, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

WatchedMemory::WatchedMemory(std::shared_ptr<void> memory, std::int64_t numel, at::ScalarType dtype,
                             AccessListener& listener)
    : watch_(std::make_shared<Watch>(Watch{
          std::move(memory), static_cast<std::int64_t>(c10::elementSize(dtype)), &listener})) {
  const auto bytes = static_cast<std::size_t>(numel * watch_->element_bytes);
  c10::DataPtr data(watch_->memory.get(), new std::shared_ptr<Watch>(watch_), &end_watch,
                    c10::kCPU);
  const c10::Storage storage(c10::Storage::use_byte_size_t(), bytes, std::move(data));
  auto whole = c10::make_intrusive<c10::TensorImpl>(
      c10::Storage(storage), c10::DispatchKeySet({c10::DispatchKey::CPU, kKey}),
      c10::scalarTypeToTypeMeta(dtype));
  whole->set_sizes_contiguous({numel});
  whole_ = at::Tensor(std::move(whole));
}

WatchedMemory::~WatchedMemory() { watch_->listener = nullptr; }

// A tensor of its own instead of a view, so that each has its own version and no base.
at::Tensor WatchedMemory::tensor(std::int64_t begin, at::IntArrayRef sizes) const {
  auto part = c10::make_intrusive<c10::TensorImpl>(
      c10::TensorImpl::VIEW, c10::Storage(whole_.storage()), whole_.key_set(), whole_.dtype());
  part->set_storage_offset(begin);
  part->set_sizes_contiguous(sizes);
  return at::Tensor(std::move(part));
}

void WatchedMemory::take_place_of(at::Tensor parameter, std::int64_t begin) const {
  // Comparing the two is an operation, too.
  const c10::impl::ExcludeDispatchKeyGuard unheard(kKey);
  parameter.set_data(tensor(begin, parameter.sizes()));
}

namespace {

class Counter : public AccessListener {
 public:
  void before(const Access& access) override { reads += access.reads.size(); }
  std::size_t reads = 0;
};

}  // namespace

void check_parameter_access() {
  const at::AutoGradMode with_gradients(true);
  const std::shared_ptr<float> memory(new float[4]{1, 2, 3, 4}, std::default_delete<float[]>());
  Counter counter;
  const WatchedMemory watched(memory, 4, at::kFloat, counter);
  at::Tensor leaf = at::ones({2, 2});
  watched.take_place_of(leaf, 0);
  leaf.requires_grad_(true);
  const at::Tensor input = at::ones({1, 2}).requires_grad_(true);
  const at::Tensor output = at::linear(input, leaf).sum();
  const std::size_t forward = counter.reads;
  output.backward();
  const std::size_t backward = counter.reads - forward;
  if (forward > 0 && backward > 0) return;
  throw InternalError(
      "ZeRO stage 3: expected LibTorch to tell of each operation on a parameter, found " +
      std::to_string(forward) + " in a forward pass and " + std::to_string(backward) +
      " in a backward pass; use --zero-stage 2 with this LibTorch");
}

}  // namespace muster::internal
