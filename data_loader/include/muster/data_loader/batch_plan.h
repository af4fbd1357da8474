// Which positions of an epoch's order each micro-batch takes: pure arithmetic, the same for every
// world size.
#ifndef MUSTER_DATA_LOADER_BATCH_PLAN_H_
#define MUSTER_DATA_LOADER_BATCH_PLAN_H_

#include <cstdint>

namespace muster {

/// Positions [begin, end) of an epoch's order.
struct PositionRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  friend bool operator==(const PositionRange&, const PositionRange&) = default;
};

/// A step that begins at position p takes [p, p + global_batch) and, in it, micro-step m of logical
/// rank l takes [p + (l * accumulation_steps + m) * micro_batch, + micro_batch); all cut at the
/// epoch's end, so the last step of an epoch may be short and its last micro-batches empty. With
/// `drop_last` a step that would be short does not happen.
struct BatchPlan {
  std::int64_t samples = 0;  // in an epoch
  std::int64_t logical_ranks = 1;
  std::int64_t accumulation_steps = 1;
  std::int64_t micro_batch = 1;
  bool drop_last = false;

  /// Throws ConfigError with all that is wrong: a count below 1, a global batch beyond 2^62, or no
  /// step in an epoch.
  void validate() const;

  std::int64_t global_batch() const { return logical_ranks * accumulation_steps * micro_batch; }
  std::int64_t steps_per_epoch() const;
  /// Whether a step can begin at `position`.
  bool has_step(std::int64_t position) const;
  /// The positions of the step that begins at `step_position`.
  PositionRange step(std::int64_t step_position) const;
  /// Those of one micro-batch of it.
  PositionRange micro_batch_of(std::int64_t step_position, std::int64_t logical_rank,
                               std::int64_t micro_step) const;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_BATCH_PLAN_H_
