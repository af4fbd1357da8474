// When training ends: at whichever limit comes first. Pure.
#ifndef MUSTER_TRAINER_SRC_RUN_LIMITS_H_
#define MUSTER_TRAINER_SRC_RUN_LIMITS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "run_state.h"

namespace muster::internal {

struct RunLimits {
  std::optional<std::int64_t> steps;
  double tokens = 0;                      ///< 0: no limit of this kind.
  std::chrono::duration<double> time{0};  ///< The same; of training, over all lives of the run.

  /// `steps` as they were asked for (0 of them end a run at once), unless another limit is there
  /// alone.
  RunLimits(std::int64_t asked_steps, std::int64_t asked_tokens, double minutes);

  bool time_is_up(std::chrono::duration<double> trained) const;
  /// Which limit has been reached: "60 of 60 steps"; empty when none. What ranks know of time
  /// differs, so whether it is up is theirs to agree on.
  std::string reached(const JobProgress& progress, bool time_is_up) const;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_RUN_LIMITS_H_
