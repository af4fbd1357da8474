// The two steps of stopping.
#include "stop_request.h"

#include <csignal>

#include "muster/base/error.h"

namespace muster::launcher {

StopRequest::Step StopRequest::on_signal(int signal, TimePoint now) {
  if (killing_) return Step::kNothing;
  if (!requested()) {
    signal_ = signal == SIGINT ? SIGINT : SIGTERM;
    deadline_ = now + grace_;
    return Step::kAsk;
  }
  if (signal != SIGINT) return Step::kNothing;
  killing_ = true;
  return Step::kKill;
}

StopRequest::Step StopRequest::on_time(TimePoint now) {
  if (!requested() || killing_ || now < deadline_) return Step::kNothing;
  killing_ = true;
  return Step::kKill;
}

std::optional<TimePoint> StopRequest::deadline() const {
  if (!requested() || killing_) return std::nullopt;
  return deadline_;
}

std::string StopRequest::reason() const { return signal_ == SIGINT ? "interrupt" : "preempt"; }

int StopRequest::exit_code(bool left_by_themselves) const {
  if (signal_ == SIGINT) return static_cast<int>(ExitCode::kInterrupted);
  return static_cast<int>(left_by_themselves ? ExitCode::kPreempted : ExitCode::kPeerLost);
}

}  // namespace muster::launcher
