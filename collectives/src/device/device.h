// One rank's accelerator, as transports for its memory see it. They know no CUDA, so that the same
// code is tested on a CPU.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "reduce_kernels.h"

namespace muster::internal {

/// Work for the device stands in lanes. Each works off what it was given in that order; between
/// lanes there is no order but the one that follow() makes.
enum class Lane { kFirst = 0, kSecond = 1 };
inline constexpr int kLanesOfDevice = 2;

/// A place in a lane, or in the work of a caller.
using DeviceMark = std::shared_ptr<void>;

/// What another process needs to reach memory of this one's.
struct MemoryHandle {
  std::byte bytes[64] = {};
};

/// Calls return at once and throw InternalError when the device has failed, if not said otherwise.
/// One thread at a time, but for mark_caller(), allocate() and what it returned.
class Device {
 public:
  virtual ~Device() = default;

  /// What the calling thread has given to the device until now. Any thread.
  virtual DeviceMark mark_caller() = 0;
  virtual DeviceMark mark(Lane lane) = 0;
  /// What `lane` is given from now on begins after `mark`.
  virtual void follow(Lane lane, const DeviceMark& mark) = 0;
  virtual bool reached(const DeviceMark& mark) = 0;

  /// Between any two of: this device's memory, opened memory, host_memory() and pinned memory.
  virtual void copy(Lane lane, std::byte* to, const std::byte* from, std::int64_t bytes) = 0;
  /// In the first lane: as internal::reduce() does it, with the same bits. At most
  /// kMaxDeviceSources sources and as many destinations.
  virtual void reduce(const ReducePlan& plan, std::span<const std::byte* const> sources,
                      std::span<std::byte* const> destinations, std::int64_t numel) = 0;

  /// Zeroed memory of the device. May block. Given back when the last owner is gone. Any thread.
  virtual std::shared_ptr<std::byte> allocate(std::int64_t bytes) = 0;
  /// Memory of the host that the device copies from and to beside other work.
  virtual std::shared_ptr<std::byte> host_memory(std::int64_t bytes) = 0;
  /// Makes the same of memory that is there already, as long as the result lives.
  virtual std::shared_ptr<void> pin(std::byte* memory, std::int64_t bytes) = 0;

  /// Of the beginning of what allocate() returned.
  virtual MemoryHandle handle(std::byte* memory) = 0;
  /// Another process's memory; closed when the last owner is gone. Throws ConfigError when this
  /// device cannot reach it.
  virtual std::shared_ptr<std::byte> open(const MemoryHandle& handle) = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_H_
