// Checks, and the choice between a copy and a question.
#include "transport_window.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "describe_operation.h"
#include "muster/base/error.h"
#include "tensor_checks.h"

namespace muster::internal {
namespace {

class EndedRead : public WorkState {
 public:
  bool done() const override { return true; }
  void wait() override {}
  bool wait_for(std::chrono::milliseconds) override { return true; }
};

at::Tensor tensor_of(const std::shared_ptr<std::byte>& memory, std::int64_t numel,
                     at::ScalarType dtype) {
  const at::TensorOptions options(dtype);
  if (numel == 0) return at::empty({0}, options);
  return at::from_blob(
      memory.get(), {numel}, [memory](void*) {}, options);
}

}  // namespace

TransportWindow::TransportWindow(WindowMemory memory, std::int64_t numel, at::ScalarType dtype)
    : memory_(std::move(memory)), own_(tensor_of(memory_.own, numel, dtype)) {}

TransportWindow::~TransportWindow() {
  if (!owner_.is_this()) keep_for_ever(std::move(memory_.reader));
}

void TransportWindow::check(int from, std::int64_t begin, const at::Tensor& to) const {
  const auto problem = [](const std::string& expected, const std::string& found,
                          const char* advice) {
    throw ConfigError("read: expected " + expected + ", found " + found + "; " + advice);
  };
  const auto ranks = static_cast<int>(memory_.mapped.size());
  if (from < 0 || from >= ranks) {
    problem("a rank below " + std::to_string(ranks), std::to_string(from), "correct the rank");
  }
  if (!to.defined() || !to.device().is_cpu() || to.scalar_type() != own_.scalar_type() ||
      !to.is_contiguous()) {
    problem("a contiguous CPU tensor of the window's dtype, " + own_.toString(),
            to.defined() ? to.toString() : "an undefined one", "make one and copy from it");
  }
  if (const std::optional<LazyValues> lazy = lazy_values(to)) {
    problem("a tensor whose values are in its memory", lazy->found, lazy->advice);
  }
  if (begin < 0 || begin > own_.numel() - to.numel()) {
    problem("elements within the window's " + std::to_string(own_.numel()),
            std::to_string(to.numel()) + " from " + std::to_string(begin), "correct the range");
  }
}

Work TransportWindow::read(int from, std::int64_t begin, at::Tensor to) {
  check(from, begin, to);
  const auto element_bytes = static_cast<std::int64_t>(own_.element_size());
  auto* const target = static_cast<std::byte*>(to.mutable_data_ptr());
  const std::byte* const mapped =
      memory_.mapped.empty() ? nullptr : memory_.mapped[static_cast<std::size_t>(from)];
  if (to.numel() == 0 || mapped != nullptr) {
    if (to.numel() > 0) {
      copy_bytes(target, mapped + begin * element_bytes, to.numel() * element_bytes);
    }
    return Work(std::make_shared<EndedRead>());
  }
  const Operation operation = describe_read(to, from);
  return Work(memory_.reader->start(operation, begin * element_bytes,
                                    std::make_shared<at::Tensor>(std::move(to))));
}

}  // namespace muster::internal
