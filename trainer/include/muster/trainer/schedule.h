// Learning rate as a pure function of the step.
#ifndef MUSTER_TRAINER_SCHEDULE_H_
#define MUSTER_TRAINER_SCHEDULE_H_

#include <cstdint>

namespace muster {

enum class ScheduleKind {
  kConstant,
  kCosine,  ///< Half a cosine from the base rate down to min_factor of it (Loshchilov and Hutter
            ///< 2017, without restarts).
};

struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double base_rate = 1e-3;
  std::int64_t warmup_steps = 0;  ///< Rises linearly; step w is the first at the full rate.
  std::int64_t total_steps = 0;   ///< Where the cosine ends; unused by kConstant.
  double min_factor = 0.0;        ///< Rate at the end, as a fraction of base_rate.

  /// The rate of the update that makes step `step` + 1 out of step `step`; `step` counts from 0.
  double rate(std::int64_t step) const;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_SCHEDULE_H_
