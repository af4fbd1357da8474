// How much memory a piece of work has at most.
#ifndef MUSTER_TRAINER_SRC_ALLOCATION_METER_H_
#define MUSTER_TRAINER_SRC_ALLOCATION_METER_H_

#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>

namespace muster::internal {

/// Counts, for as long as it lives, the bytes of tensors that this thread allocates and frees. What
/// was allocated before is not counted when it is freed.
class AllocationMeter {
 public:
  AllocationMeter();

  std::int64_t live_bytes() const;
  /// The most that were live at a time since this was made.
  std::int64_t peak_bytes() const;

 private:
  struct Counter;
  std::shared_ptr<Counter> counter_;
  c10::DebugInfoGuard guard_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ALLOCATION_METER_H_
