// Ctrl-C and SIGTERM: ask first, kill later. Pure; time is a parameter.
#ifndef MUSTER_LAUNCHER_STOP_REQUEST_H_
#define MUSTER_LAUNCHER_STOP_REQUEST_H_

#include <chrono>
#include <optional>
#include <string>

#include "rank_report.h"

namespace muster::launcher {

/// How far the user's wish to stop has come.
class StopRequest {
 public:
  enum class Step { kNothing, kAsk, kKill };

  explicit StopRequest(std::chrono::milliseconds grace) : grace_(grace) {}

  /// SIGINT means interrupt; SIGTERM and SIGHUP mean preempt. The first signal asks, a second
  /// SIGINT kills; a second SIGTERM changes nothing, since some managers send it often.
  Step on_signal(int signal, TimePoint now);
  /// kKill once, when the grace period is over.
  Step on_time(TimePoint now);
  /// When on_time() wants to be called, if at all.
  std::optional<TimePoint> deadline() const;

  bool requested() const { return signal_ != 0; }
  bool killing() const { return killing_; }
  /// "interrupt" or "preempt": Stop's reason.
  std::string reason() const;
  /// The signal for ranks that do not speak the control protocol.
  int signal() const { return signal_; }
  /// 130 for an interrupt. For a preemption 79 when the ranks left by themselves, 75 when they had
  /// to be killed.
  int exit_code(bool left_by_themselves) const;

 private:
  std::chrono::milliseconds grace_;
  int signal_ = 0;
  bool killing_ = false;
  TimePoint deadline_{};
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_STOP_REQUEST_H_
