// Texts between ranks.
#include "text_exchange.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

namespace muster::internal {
namespace {

at::Tensor to_bytes(const std::string& text, std::int64_t bytes) {
  at::Tensor tensor = at::zeros({bytes}, at::TensorOptions(at::kByte));
  std::memcpy(tensor.data_ptr(), text.data(), text.size());
  return tensor;
}

}  // namespace

std::vector<std::string> gather_texts(Communicator& communicator, const std::string& text) {
  const int world_size = communicator.world_size();
  at::Tensor length = at::zeros({1}, at::TensorOptions(at::kLong));
  length.mutable_data_ptr<std::int64_t>()[0] = static_cast<std::int64_t>(text.size());
  at::Tensor lengths = at::zeros({world_size}, at::TensorOptions(at::kLong));
  communicator.all_gather(lengths, length).wait();
  const std::int64_t* sizes = lengths.const_data_ptr<std::int64_t>();
  const std::int64_t longest =
      std::max<std::int64_t>(1, *std::max_element(sizes, sizes + world_size));
  at::Tensor all = at::zeros({world_size * longest}, at::TensorOptions(at::kByte));
  communicator.all_gather(all, to_bytes(text, longest)).wait();
  std::vector<std::string> texts;
  const char* bytes = static_cast<const char*>(all.const_data_ptr());
  for (int rank = 0; rank < world_size; ++rank) {
    texts.emplace_back(bytes + rank * longest, static_cast<std::size_t>(sizes[rank]));
  }
  return texts;
}

std::string broadcast_text(Communicator& communicator, const std::string& text) {
  at::Tensor length = at::zeros({1}, at::TensorOptions(at::kLong));
  length.mutable_data_ptr<std::int64_t>()[0] = static_cast<std::int64_t>(text.size());
  communicator.broadcast(length, 0).wait();
  const std::int64_t bytes = length.const_data_ptr<std::int64_t>()[0];
  if (bytes == 0) return "";
  at::Tensor tensor = communicator.rank() == 0 ? to_bytes(text, bytes)
                                               : at::zeros({bytes}, at::TensorOptions(at::kByte));
  communicator.broadcast(tensor, 0).wait();
  return std::string(static_cast<const char*>(tensor.const_data_ptr()),
                     static_cast<std::size_t>(bytes));
}

}  // namespace muster::internal
