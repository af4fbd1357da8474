// The descriptors that one turn of the supervisor's loop waits for, and what to do when they are
// ready.
#ifndef MUSTER_LAUNCHER_POLL_SET_H_
#define MUSTER_LAUNCHER_POLL_SET_H_

#include <poll.h>

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "rank_report.h"

namespace muster::launcher {

/// Made anew each turn.
class PollSet {
 public:
  /// `handler` runs when `fd` has one of `events`, an error or a hang-up.
  void add(int fd, short events, std::function<void()> handler);
  /// Lowers the time at which wait() returns at the latest.
  void wake_at(std::optional<TimePoint> time);
  /// Sleeps until a descriptor is ready or the time has come, then runs the handlers. Throws
  /// InternalError.
  void wait();

 private:
  std::vector<pollfd> fds_;
  std::vector<std::function<void()>> handlers_;
  std::optional<TimePoint> wake_at_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_POLL_SET_H_
