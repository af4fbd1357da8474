// Tells the launcher, or the log where there is none, how far the run is.
#ifndef MUSTER_TRAINER_SRC_PROGRESS_REPORT_H_
#define MUSTER_TRAINER_SRC_PROGRESS_REPORT_H_

#include <chrono>
#include <cstdint>

#include "muster/base/control_messages.h"
#include "muster/trainer/engine.h"

namespace muster::internal {

class ProgressReport {
 public:
  using Clock = std::chrono::steady_clock;

  /// `control` may be null. Ranks other than 0 say nothing.
  ProgressReport(ControlChannel* control, int rank, std::int64_t log_every);

  void resumed(std::int64_t step);
  /// Rate-limited to 20 messages a second; the first and the last step are always told.
  /// `total_steps` is 0 where their number is not known.
  void step(const StepReport& report, std::int64_t total_steps, bool last, std::int64_t epoch,
            Clock::time_point now);
  /// Time was spent on something other than steps: the rate is measured anew from `now`.
  void pause(Clock::time_point now);
  void checkpoint(std::int64_t step, const std::string& path);

 private:
  ControlChannel* control_;
  int rank_;
  std::int64_t log_every_;
  Clock::time_point last_sent_{};
  Clock::time_point window_start_{};
  double window_samples_ = 0;
  double samples_per_second_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PROGRESS_REPORT_H_
