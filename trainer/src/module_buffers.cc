// Buffers as bytes.
#include "module_buffers.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cstddef>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

ModuleBuffers::ModuleBuffers(std::vector<std::pair<std::string, at::Tensor>> buffers,
                             at::Device device)
    : buffers_(std::move(buffers)) {
  std::int64_t bytes = 0;
  for (const auto& [name, buffer] : buffers_) {
    if (!buffer.is_contiguous() || buffer.device() != device) {
      throw ConfigError("buffer '" + name + "': expected a contiguous tensor on " + device.str() +
                        ", where the parameters are, found " +
                        (buffer.is_contiguous() ? "one on " + buffer.device().str() : "another") +
                        "; make it so in build_model()");
    }
    sizes_bytes_.push_back(static_cast<std::int64_t>(buffer.nbytes()));
    bytes += sizes_bytes_.back();
  }
  const at::TensorOptions options = at::TensorOptions(at::kByte).device(device);
  start_ = at::empty({bytes}, options);
  kept_ = at::empty({bytes}, options);
}

namespace {

using NamedBuffer = std::pair<std::string, at::Tensor>;

void check_unchanged(const NamedBuffer& named, std::int64_t size_bytes) {
  const auto& [name, buffer] = named;
  if (static_cast<std::int64_t>(buffer.nbytes()) == size_bytes && buffer.is_contiguous()) return;
  throw UserError("buffer '" + name + "': expected the " + std::to_string(size_bytes) +
                  " contiguous bytes that it had when the engine was made, found " +
                  std::to_string(buffer.nbytes()) +
                  (buffer.is_contiguous() ? "" : ", not contiguous") +
                  "; write into it in place, and make it as large as it will be in build_model()");
}

/// Calls copy(the part of `bytes`, the bytes of the buffer) for each buffer.
template <typename Copy>
void for_each_buffer(const std::vector<NamedBuffer>& buffers,
                     const std::vector<std::int64_t>& sizes_bytes, const at::Tensor& bytes,
                     const Copy& copy) {
  const at::NoGradGuard no_grad;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    check_unchanged(buffers[i], sizes_bytes[i]);
    if (sizes_bytes[i] == 0) continue;
    copy(bytes.narrow(0, begin, sizes_bytes[i]),
         buffers[i].second.variable_data().view(-1).view(at::kByte));
    begin += sizes_bytes[i];
  }
}

}  // namespace

void ModuleBuffers::pack(const at::Tensor& bytes) const {
  for_each_buffer(buffers_, sizes_bytes_, bytes,
                  [](const at::Tensor& part, const at::Tensor& buffer) { part.copy_(buffer); });
}

void ModuleBuffers::unpack(const at::Tensor& bytes) {
  for_each_buffer(buffers_, sizes_bytes_, bytes,
                  [](const at::Tensor& part, const at::Tensor& buffer) { buffer.copy_(part); });
}

void ModuleBuffers::begin_step() {
  abandon_step();
  pack(start_);
  pack(kept_);  // where logical rank 0 has no sample this step, its buffers stay
  in_step_ = true;
}

void ModuleBuffers::begin_logical_rank() { unpack(start_); }

void ModuleBuffers::keep() { pack(kept_); }

void ModuleBuffers::publish(Communicator& communicator) {
  if (kept_.numel() > 0) published_ = communicator.broadcast(kept_, 0);
}

void ModuleBuffers::finish_step() {
  in_step_ = false;
  if (!published_) return;
  published_->wait();
  published_.reset();
  unpack(kept_);
}

void ModuleBuffers::abandon_step() {
  if (published_) published_->wait();
  published_.reset();
  if (std::exchange(in_step_, false)) unpack(start_);
}

}  // namespace muster::internal
