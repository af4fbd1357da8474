// Limits of a run.
#include "run_limits.h"

#include <cmath>

namespace muster::internal {

RunLimits::RunLimits(std::int64_t asked_steps, std::int64_t asked_tokens, double minutes)
    : tokens(static_cast<double>(asked_tokens)), time(minutes * 60) {
  if (asked_steps > 0 || (asked_tokens == 0 && minutes == 0)) steps = asked_steps;
}

bool RunLimits::time_is_up(std::chrono::duration<double> trained) const {
  return time.count() > 0 && trained >= time;
}

std::string RunLimits::reached(const JobProgress& progress, bool time_is_up) const {
  if (steps && progress.step >= *steps)
    return std::to_string(progress.step) + " of " + std::to_string(*steps) + " steps";
  if (tokens > 0 && progress.tokens >= tokens) {
    return std::to_string(std::llround(progress.tokens)) + " of " +
           std::to_string(std::llround(tokens)) + " tokens";
  }
  if (!time_is_up) return "";
  return "the " + std::to_string(std::llround(time.count())) + " seconds of --minutes";
}

}  // namespace muster::internal
