// poll() with handlers.
#include "poll_set.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

int timeout_ms(const std::optional<TimePoint>& wake_at) {
  if (!wake_at) return -1;
  // Rounded up: waking a little early would make the loop spin.
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*wake_at - TimePoint::clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, INT_MAX));
}

}  // namespace

void PollSet::add(int fd, short events, std::function<void()> handler) {
  fds_.push_back({fd, events, 0});
  handlers_.push_back(std::move(handler));
}

void PollSet::wake_at(std::optional<TimePoint> time) {
  if (time && (!wake_at_ || *time < *wake_at_)) wake_at_ = time;
}

void PollSet::wait() {
  const int ready = poll(fds_.data(), fds_.size(), timeout_ms(wake_at_));
  if (ready < 0 && errno != EINTR) throw InternalError("poll: " + errno_text(errno));
  if (ready <= 0) return;
  for (std::size_t i = 0; i < fds_.size(); ++i) {
    if (fds_[i].revents != 0) handlers_[i]();
  }
}

}  // namespace muster::launcher
