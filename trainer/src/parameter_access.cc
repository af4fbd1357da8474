// The key, its fallback, and the tensors that carry it.
#include "parameter_access.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

/// Lives as long as a tensor of the memory does.
struct WatchedMemory::Watch {
  std::size_t number;
  std::int64_t element_bytes;
  AccessListener* listener;  // null when nobody listens any more
};

/// What a storage's pointer belongs to.
struct WatchedMemory::Values {
  std::shared_ptr<Watch> watch;
  at::Tensor values;  // perhaps undefined
};

namespace {

// LibTorch keeps this key for tests and uses it nowhere. It is above those of autograd and
// autocast, so that each operation is seen once, as the user called it.
constexpr c10::DispatchKey kKey = c10::DispatchKey::TESTING_ONLY_GenericWrapper;

}  // namespace

// What a storage's memory is released by tells whose it is.
void WatchedMemory::end_values(void* values) { delete static_cast<Values*>(values); }

/// Null for a tensor that is not watched.
const WatchedMemory::Watch* watch_of(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.key_set().has(kKey) || !tensor.has_storage()) return nullptr;
  const auto* values =
      tensor.storage().data_ptr().cast_context<WatchedMemory::Values>(&WatchedMemory::end_values);
  if (values == nullptr) return nullptr;
  if (values->watch->listener != nullptr) return values->watch.get();
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
    const WatchedRange range{watch->number,
                             {tensor.storage_offset() * item / watch->element_bytes,
                              (end * item - 1) / watch->element_bytes + 1}};
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

WatchedMemory::WatchedMemory(std::size_t number, std::int64_t numel,
                             const at::TensorOptions& options, AccessListener& listener)
    : watch_(std::make_shared<Watch>(
          Watch{number, static_cast<std::int64_t>(options.dtype().itemsize()), &listener})),
      options_(options),
      storage_(c10::Storage::use_byte_size_t(),
               static_cast<std::size_t>(numel * watch_->element_bytes), pointer_to({})) {}

WatchedMemory::~WatchedMemory() { watch_->listener = nullptr; }

c10::DataPtr WatchedMemory::pointer_to(const at::Tensor& values) const {
  void* const data = values.defined() ? values.mutable_data_ptr() : nullptr;
  return {data, new Values{watch_, values}, &end_values, options_.device()};
}

void WatchedMemory::set_values(const at::Tensor& values) {
  storage_.set_data_ptr_noswap(pointer_to(values));
}

// A tensor of its own instead of a view, so that each has its own version and no base.
void WatchedMemory::take_place_of(at::Tensor parameter, std::int64_t begin) const {
  // Comparing the two is an operation, too.
  const c10::impl::ExcludeDispatchKeyGuard unheard(kKey);
  auto part = c10::make_intrusive<c10::TensorImpl>(
      c10::Storage(storage_), c10::DispatchKeySet({options_.computeDispatchKey(), kKey}),
      options_.dtype());
  part->set_storage_offset(begin);
  part->set_sizes_contiguous(parameter.sizes());
  parameter.set_data(at::Tensor(std::move(part)));
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
  Counter counter;
  WatchedMemory watched(0, 4, at::TensorOptions(at::kFloat), counter);
  watched.set_values(at::ones({4}));
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
