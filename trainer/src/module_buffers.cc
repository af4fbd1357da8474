// Buffers as bytes.
#include "module_buffers.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "muster/base/error.h"

namespace muster::internal {

ModuleBuffers::ModuleBuffers(std::vector<std::pair<std::string, at::Tensor>> buffers)
    : buffers_(std::move(buffers)) {
  std::int64_t bytes = 0;
  for (const auto& [name, buffer] : buffers_) {
    if (!buffer.is_contiguous() || !buffer.device().is_cpu()) {
      throw ConfigError(
          "buffer '" + name +
          "': expected a contiguous tensor on the CPU, found another; make it contiguous in "
          "build_model()");
    }
    bytes += static_cast<std::int64_t>(buffer.nbytes());
  }
  start_ = at::empty({bytes}, at::TensorOptions(at::kByte));
  kept_ = at::empty({bytes}, at::TensorOptions(at::kByte));
}

void ModuleBuffers::pack(at::Tensor& bytes) const {
  char* next = static_cast<char*>(bytes.data_ptr());
  for (const auto& [name, buffer] : buffers_) {
    if (buffer.nbytes() == 0) continue;
    std::memcpy(next, buffer.const_data_ptr(), buffer.nbytes());
    next += buffer.nbytes();
  }
}

void ModuleBuffers::unpack(const at::Tensor& bytes) {
  const char* next = static_cast<const char*>(bytes.const_data_ptr());
  for (const auto& [name, buffer] : buffers_) {
    if (buffer.nbytes() == 0) continue;
    std::memcpy(buffer.data_ptr(), next, buffer.nbytes());
    next += buffer.nbytes();
  }
}

void ModuleBuffers::begin_step() {
  pack(start_);
  pack(kept_);  // where logical rank 0 has no sample this step, its buffers stay
}

void ModuleBuffers::begin_logical_rank() { unpack(start_); }

void ModuleBuffers::keep() { pack(kept_); }

void ModuleBuffers::publish(Communicator& communicator) {
  if (kept_.numel() > 0) published_ = communicator.broadcast(kept_, 0);
}

void ModuleBuffers::finish_step() {
  if (!published_) return;
  published_->wait();
  published_.reset();
  unpack(kept_);
}

}  // namespace muster::internal
