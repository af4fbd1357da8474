// Lanes as queues of functions, and memory in memfds.
#include "collectives/lazy_device.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "muster/base/check.h"
#include "transport.h"

namespace muster::testing {

using internal::DeviceMark;
using internal::Lane;
using internal::MemoryHandle;

namespace {

std::shared_ptr<std::byte> map_file(int fd, std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MUSTER_CHECK(address != MAP_FAILED) << "mmap: " << std::strerror(errno);
  return {static_cast<std::byte*>(address), [size, fd](std::byte* memory) {
            munmap(memory, size);
            close(fd);
          }};
}

// Descriptors of this process's memory, by address.
std::map<std::byte*, std::pair<int, std::int64_t>>& descriptors() {
  static std::map<std::byte*, std::pair<int, std::int64_t>> all;
  return all;
}

}  // namespace

void LazyDevice::caller_does(std::function<void()> step) { give(kCaller, std::move(step)); }

DeviceMark LazyDevice::mark_caller() { return mark_of(kCaller); }

DeviceMark LazyDevice::mark(Lane lane) { return mark_of(static_cast<std::size_t>(lane)); }

DeviceMark LazyDevice::mark_of(std::size_t lane) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  return std::make_shared<Place>(Place{lane, lanes_[lane].given});
}

void LazyDevice::give(std::size_t lane, std::function<void()> step) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  lanes_[lane].steps.push_back(std::move(step));
  ++lanes_[lane].given;
}

void LazyDevice::do_step(std::size_t lane) {
  Work& work = lanes_[lane];
  const std::function<void()> step = std::move(work.steps.front());
  work.steps.pop_front();
  step();
  ++work.done;
}

void LazyDevice::follow(Lane lane, const DeviceMark& mark) {
  const Place place = *static_cast<const Place*>(mark.get());
  give(static_cast<std::size_t>(lane), [this, place] {
    while (lanes_[place.lane].done < place.steps) do_step(place.lane);
  });
}

bool LazyDevice::reached(const DeviceMark& mark) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  const Place place = *static_cast<const Place*>(mark.get());
  if (lanes_[place.lane].done >= place.steps) return true;
  do_step(place.lane);
  return false;
}

void LazyDevice::copy(Lane lane, std::byte* to, const std::byte* from, std::int64_t bytes) {
  give(static_cast<std::size_t>(lane), [=] { internal::copy_bytes(to, from, bytes); });
}

void LazyDevice::reduce(const internal::ReducePlan& plan, std::span<const std::byte* const> sources,
                        std::span<std::byte* const> destinations, std::int64_t numel) {
  const std::vector<const std::byte*> from(sources.begin(), sources.end());
  const std::vector<std::byte*> to(destinations.begin(), destinations.end());
  if (to.empty() || numel == 0) return;
  give(0, [=] { internal::reduce(plan, from, to, numel); });
}

std::shared_ptr<std::byte> LazyDevice::allocate(std::int64_t bytes) {
  const int fd = memfd_create("muster-lazy-device", MFD_CLOEXEC);
  MUSTER_CHECK_GE(fd, 0);
  MUSTER_CHECK_EQ(ftruncate(fd, bytes), 0);
  std::shared_ptr<std::byte> memory = map_file(fd, bytes);
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  descriptors()[memory.get()] = {fd, bytes};
  return memory;
}

std::shared_ptr<std::byte> LazyDevice::host_memory(std::int64_t bytes) {
  return internal::allocate_zeroed(bytes);
}

std::shared_ptr<void> LazyDevice::pin(std::byte*, std::int64_t) { return nullptr; }

MemoryHandle LazyDevice::handle(std::byte* memory) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  const auto [fd, bytes] = descriptors().at(memory);
  const Handle own{getpid(), fd, bytes};
  MemoryHandle handle;
  std::memcpy(handle.bytes, &own, sizeof(own));
  return handle;
}

std::shared_ptr<std::byte> LazyDevice::open(const MemoryHandle& handle) {
  Handle theirs;
  std::memcpy(&theirs, handle.bytes, sizeof(theirs));
  const std::string path =
      "/proc/" + std::to_string(theirs.pid) + "/fd/" + std::to_string(theirs.fd);
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  MUSTER_CHECK_GE(fd, 0) << path << ": " << std::strerror(errno);
  return map_file(fd, theirs.bytes);
}

std::int64_t LazyDevice::owner(const MemoryHandle& handle) {
  Handle theirs;
  std::memcpy(&theirs, handle.bytes, sizeof(theirs));
  return theirs.pid;
}

}  // namespace muster::testing
