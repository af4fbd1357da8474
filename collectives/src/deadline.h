// When a wait is over.
#ifndef MUSTER_COLLECTIVES_SRC_DEADLINE_H_
#define MUSTER_COLLECTIVES_SRC_DEADLINE_H_

#include <algorithm>
#include <chrono>

namespace muster::internal {

/// `timeout` after `start`, and not before it; the end of time where the clock does not count as
/// far: what a caller means by milliseconds::max().
inline std::chrono::steady_clock::time_point deadline_after(
    std::chrono::milliseconds timeout,
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now()) {
  using std::chrono::milliseconds;
  const auto most =
      std::chrono::floor<milliseconds>(std::chrono::steady_clock::time_point::max() - start);
  return start + std::clamp(timeout, milliseconds::zero(), most);
}

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEADLINE_H_
