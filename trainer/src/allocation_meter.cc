// Listens where LibTorch's memory profiler does.
#include "allocation_meter.h"

#include <c10/core/Allocator.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace muster::internal {

struct AllocationMeter::Counter : c10::MemoryReportingInfoBase {
  bool memoryProfilingEnabled() const override { return true; }

  void reportMemoryUsage(void* ptr, std::int64_t alloc_size, std::size_t /*total_allocated*/,
                         std::size_t /*total_reserved*/, c10::Device /*device*/) override {
    const std::lock_guard lock(mutex);
    if (alloc_size > 0) {
      sizes[ptr] = alloc_size;
      live += alloc_size;
      peak = std::max(peak, live);
    } else if (const auto found = sizes.find(ptr); found != sizes.end()) {
      live -= found->second;
      sizes.erase(found);
    }
  }

  std::mutex mutex;
  std::unordered_map<void*, std::int64_t> sizes;
  std::int64_t live = 0;
  std::int64_t peak = 0;
};

AllocationMeter::AllocationMeter()
    : counter_(std::make_shared<Counter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}

std::int64_t AllocationMeter::live_bytes() const {
  const std::lock_guard lock(counter_->mutex);
  return counter_->live;
}

std::int64_t AllocationMeter::peak_bytes() const {
  const std::lock_guard lock(counter_->mutex);
  return counter_->peak;
}

}  // namespace muster::internal
