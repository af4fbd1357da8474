// Progress messages and log lines.
#include "progress_report.h"

#include <string>

#include "muster/base/log.h"

namespace muster::internal {
namespace {

constexpr std::chrono::milliseconds kMessageInterval{50};
constexpr std::chrono::milliseconds kRateWindow{1000};

}  // namespace

ProgressReport::ProgressReport(ControlChannel* control, int rank, std::int64_t log_every)
    : control_(control), rank_(rank), log_every_(log_every) {}

void ProgressReport::resumed(std::int64_t step) {
  if (control_ != nullptr) control_->send(Resumed{step});
}

void ProgressReport::step(const StepReport& report, std::int64_t total_steps, bool last,
                          std::int64_t epoch, Clock::time_point now) {
  if (rank_ != 0) return;
  if (window_start_ == Clock::time_point{}) window_start_ = now;
  window_samples_ += report.weight;
  const std::chrono::duration<double> window = now - window_start_;
  if (window >= kRateWindow || samples_per_second_ == 0) {
    if (window.count() > 0) samples_per_second_ = window_samples_ / window.count();
    if (window >= kRateWindow) {
      window_start_ = now;
      window_samples_ = 0;
    }
  }
  if (control_ == nullptr) {
    if (last || report.step % log_every_ == 0) {
      MUSTER_LOG(INFO) << "step " << report.step
                       << (total_steps > 0 ? "/" + std::to_string(total_steps) : "") << " epoch "
                       << epoch << " loss " << report.loss << " ("
                       << static_cast<std::int64_t>(samples_per_second_) << " samples/s)";
    }
    return;
  }
  if (!last && now - last_sent_ < kMessageInterval) return;
  last_sent_ = now;
  control_->send(Progress{report.step, total_steps, epoch, report.loss, samples_per_second_});
}

void ProgressReport::pause(Clock::time_point now) {
  window_start_ = now;
  window_samples_ = 0;
}

void ProgressReport::checkpoint(std::int64_t step, const std::string& path) {
  if (control_ != nullptr) {
    control_->send(CheckpointDone{step, path});
  } else {
    MUSTER_LOG(INFO) << "checkpoint " << path;
  }
}

}  // namespace muster::internal
