// Numbering own buffers and opening others'.
#include "device/peer_buffers.h"

namespace muster::internal {

std::shared_ptr<std::byte> PeerBuffers::allocate(std::int64_t bytes) {
  std::shared_ptr<std::byte> memory = device_->allocate(bytes);
  const MemoryHandle handle = device_->handle(memory.get());
  const std::lock_guard<std::mutex> lock(mutex_);
  own_.push_back({memory, bytes, handle});
  return memory;
}

PeerPlace PeerBuffers::place(const std::byte* address, std::int64_t bytes) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (std::size_t i = 0; i < own_.size(); ++i) {
    const std::byte* begin = own_[i].memory.get();
    if (address < begin || address + bytes > begin + own_[i].bytes) continue;
    return {static_cast<std::int64_t>(i) + 1, address - begin, own_[i].handle};
  }
  return {};
}

std::byte* PeerBuffers::address(int rank, const PeerPlace& place) {
  std::shared_ptr<std::byte>& memory = opened_[{rank, place.buffer}];
  if (!memory) memory = device_->open(place.handle);
  return memory.get() + place.offset_bytes;
}

}  // namespace muster::internal
