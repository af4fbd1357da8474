// How a job's progress reads: as a bar that fits a terminal, and as a line of a log. Pure.
#ifndef MUSTER_LAUNCHER_PROGRESS_BAR_H_
#define MUSTER_LAUNCHER_PROGRESS_BAR_H_

#include <chrono>
#include <optional>
#include <string>

#include "muster/base/control_messages.h"

namespace muster::launcher {

struct ProgressView {
  Progress progress;
  int world_size = 1;
  int generation = 0;
  std::optional<std::chrono::seconds> time_left;  ///< Nothing while unknown.
};

/// "0:07", "12:34", "3:04:05".
std::string duration_text(std::chrono::seconds duration);
/// "950", "3.4k", "1.2M".
std::string rate_text(double per_second);

/// Time left at the pace since (`first_step`, `elapsed` ago). Nothing when the total is unknown or
/// no step was made.
std::optional<std::chrono::seconds> time_left(const Progress& progress, std::int64_t first_step,
                                              std::chrono::duration<double> elapsed);

/// "step 120/500  loss 0.4312  3.4k samples/s  ETA 0:12  2 ranks  gen 0"
std::string progress_line(const ProgressView& view);
/// "[#####-----]  24%  step 120/500 ..." of at most `columns` - 1 characters; what does not fit is
/// left away from the end.
std::string progress_bar(const ProgressView& view, int columns);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_PROGRESS_BAR_H_
