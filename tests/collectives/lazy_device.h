// A device for tests that is a CPU, and lazy: what it is given is done only while somebody looks
// whether it is done. What is used without having been waited for is therefore wrong.
#ifndef MUSTER_TESTS_COLLECTIVES_LAZY_DEVICE_H_
#define MUSTER_TESTS_COLLECTIVES_LAZY_DEVICE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "device/device.h"

namespace muster::testing {

class LazyDevice : public internal::Device {
 public:
  /// A step of the caller's own work on the device, which later operations have to follow.
  void caller_does(std::function<void()> step);

  internal::DeviceMark mark_caller() override;
  internal::DeviceMark mark(internal::Lane lane) override;
  void follow(internal::Lane lane, const internal::DeviceMark& mark) override;
  bool reached(const internal::DeviceMark& mark) override;
  void copy(internal::Lane lane, std::byte* to, const std::byte* from, std::int64_t bytes) override;
  void reduce(const internal::ReducePlan& plan, std::span<const std::byte* const> sources,
              std::span<std::byte* const> destinations, std::int64_t numel) override;

  /// In a memfd, which other processes open by this one's descriptor of it.
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override;
  std::shared_ptr<std::byte> host_memory(std::int64_t bytes) override;
  std::shared_ptr<void> pin(std::byte* memory, std::int64_t bytes) override;
  internal::MemoryHandle handle(std::byte* memory) override;
  std::shared_ptr<std::byte> open(const internal::MemoryHandle& handle) override;
  /// The process whose memory it is.
  static std::int64_t owner(const internal::MemoryHandle& handle);

 private:
  static constexpr std::size_t kCaller = internal::kLanesOfDevice;

  struct Place {
    std::size_t lane;
    std::uint64_t steps;
  };
  struct Work {
    std::deque<std::function<void()>> steps;
    std::uint64_t given = 0;
    std::uint64_t done = 0;
  };

  struct Handle {
    std::int64_t pid;
    std::int64_t fd;
    std::int64_t bytes;
  };

  void give(std::size_t lane, std::function<void()> step);
  internal::DeviceMark mark_of(std::size_t lane);
  void do_step(std::size_t lane);

  std::recursive_mutex mutex_;
  std::array<Work, kCaller + 1> lanes_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_LAZY_DEVICE_H_
