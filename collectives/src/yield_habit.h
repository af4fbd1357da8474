// When it pays to give a core away and hope to have it back soon.
#ifndef MUSTER_COLLECTIVES_SRC_YIELD_HABIT_H_
#define MUSTER_COLLECTIVES_SRC_YIELD_HABIT_H_

#include <chrono>

namespace muster::internal {

/// Decides by what the last yields took. A short one let another rank come to a meeting. With a
/// long one the core went to somebody who computes, and the kernel charges a slice of time for it,
/// some milliseconds: in such company it is better to sleep.
class YieldHabit {
 public:
  static constexpr auto kLong = std::chrono::microseconds(300);
  /// Meetings without a yield after a long one: twice as many each time, until one was short.
  static constexpr int kLeastPause = 256;
  static constexpr int kLongestPause = 65536;

  /// Asked once a meeting.
  bool pays();
  void took(std::chrono::steady_clock::duration time);

 private:
  int pause_ = 0;
  int next_pause_ = kLeastPause;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_YIELD_HABIT_H_
