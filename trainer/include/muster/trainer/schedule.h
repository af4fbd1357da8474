// Learning rate as a pure function of the step.
#ifndef MUSTER_TRAINER_SCHEDULE_H_
#define MUSTER_TRAINER_SCHEDULE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// Curves over T steps, as fractions of the base rate; t counts from 0, m is min_factor. Behind T
/// the value at T stays, except for kStep and kExponential, which have no end.
enum class ScheduleKind {
  kConstant,     ///< 1.
  kLinear,       ///< 1 - (1 - m) t / T; as LinearLR with end_factor m.
  kCosine,       ///< m + (1 - m) (1 + cos(pi t / T)) / 2 (Loshchilov and Hutter 2017, without
                 ///< restarts); as CosineAnnealingLR.
  kPolynomial,   ///< m + (1 - m) (1 - t / T)^power; at m = 0 as PolynomialLR.
  kStep,         ///< gamma^floor(t / step_size); as StepLR.
  kExponential,  ///< gamma^t; as ExponentialLR.
  kOneCycle,     ///< Up from 1 / div_factor to 1 over pct_start of the steps, then down to
                 ///< 1 / (div_factor * final_div_factor) at step T - 1, both along half a cosine
                 ///< (Smith and Topin 2018); as OneCycleLR.
};

/// One curve of a chain: it takes `steps` steps and spans them.
struct SchedulePiece {
  ScheduleKind kind = ScheduleKind::kConstant;
  std::int64_t steps = 0;
  friend bool operator==(const SchedulePiece&, const SchedulePiece&) = default;
};

/// A warm-up, then the pieces of `before` one after the other, then `kind` to the end. Every piece
/// starts from the base rate again, as SequentialLR's do: {constant, 800}, then linear holds the
/// rate and lets it fall at the end; {cosine, 500}, then cosine restarts.
struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double base_rate = 1e-3;
  std::int64_t warmup_steps = 0;  ///< Rises linearly; step w is the first at the full rate.
  std::int64_t total_steps = 0;   ///< Where the last piece ends.
  double min_factor = 0.0;        ///< Rate at the end, as a fraction of base_rate.
  double power = 1.0;             ///< kPolynomial.
  std::int64_t step_size = 1;     ///< kStep.
  double gamma = 0.1;             ///< kStep, kExponential.
  double pct_start = 0.3;         ///< kOneCycle.
  double div_factor = 25.0;       ///< kOneCycle.
  double final_div_factor = 1e4;  ///< kOneCycle.
  std::vector<SchedulePiece> before = {};

  /// The rate of the update that makes step `step` + 1 out of step `step`; `step` counts from 0.
  double rate(std::int64_t step) const;
  /// Whether the last piece has no end, so that total_steps does not matter.
  bool endless() const;
  /// All problems at once, each beginning with a flag's name; empty when there is none.
  std::vector<std::string> validate() const;
};

/// Fills `kind` and `before` from "cosine" or from a chain: "constant:800,linear" (every piece but
/// the last with its number of steps). Throws ConfigError that begins with "--schedule".
void parse_schedule(const std::string& text, Schedule& schedule);

}  // namespace muster

#endif  // MUSTER_TRAINER_SCHEDULE_H_
