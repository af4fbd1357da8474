// Device memory that ranks reach in each other.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_PEER_BUFFERS_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_PEER_BUFFERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "device/device.h"

namespace muster::internal {

/// Where something lies in a rank's buffers, for other ranks. Trivially copyable.
struct PeerPlace {
  std::int64_t buffer = 0;  ///< Counted from 1 on each rank; 0: in none.
  std::int64_t offset_bytes = 0;
  MemoryHandle handle;
};

/// The buffers of this rank, and those of others as far as they have been needed.
class PeerBuffers {
 public:
  explicit PeerBuffers(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  /// Zeroed; kept as long as this object, too. Any thread.
  std::shared_ptr<std::byte> allocate(std::int64_t bytes);

  /// Of [address, address + bytes), which lies within one buffer, or in none.
  PeerPlace place(const std::byte* address, std::int64_t bytes) const;

  /// The address here of what `rank`, another one, calls `place`. The first time a buffer is named
  /// it is opened, which throws ConfigError where the device cannot reach it.
  std::byte* address(int rank, const PeerPlace& place);

 private:
  struct Own {
    std::shared_ptr<std::byte> memory;
    std::int64_t bytes;
    MemoryHandle handle;
  };

  const std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;  // of own_
  std::vector<Own> own_;
  std::map<std::pair<int, std::int64_t>, std::shared_ptr<std::byte>> opened_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_PEER_BUFFERS_H_
