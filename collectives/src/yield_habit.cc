// Pauses that grow.
#include "yield_habit.h"

#include <algorithm>

namespace muster::internal {

bool YieldHabit::pays() {
  if (pause_ == 0) return true;
  --pause_;
  return false;
}

void YieldHabit::took(std::chrono::steady_clock::duration time) {
  if (time < kLong) {
    next_pause_ = kLeastPause;
    return;
  }
  pause_ = next_pause_;
  next_pause_ = std::min(2 * next_pause_, kLongestPause);
}

}  // namespace muster::internal
