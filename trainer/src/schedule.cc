// Learning-rate curves.
#include "muster/trainer/schedule.h"

#include <algorithm>
#include <cmath>

namespace muster {

double Schedule::rate(std::int64_t step) const {
  if (step < warmup_steps) {
    return base_rate * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  if (kind == ScheduleKind::kConstant) return base_rate;
  constexpr double kPi = 3.14159265358979323846;
  const auto length = static_cast<double>(std::max<std::int64_t>(1, total_steps - warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps) / length);
  return base_rate * (min_factor + (1.0 - min_factor) * 0.5 * (1.0 + std::cos(kPi * progress)));
}

}  // namespace muster
