// Which checkpoints to keep: a pure rule over step numbers and scores.
#ifndef MUSTER_CHECKPOINT_RETENTION_H_
#define MUSTER_CHECKPOINT_RETENTION_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "muster/base/json.h"

namespace muster::checkpoint {

/// A checkpoint is kept when any one of these says so.
struct Retention {
  int keep_last = 3;  ///< The newest this many; at least 1.
  std::int64_t keep_every =
      0;  ///< And every step that is a multiple of this; 0: none for this reason.
  std::optional<std::int64_t> keep_step = std::nullopt;  ///< And this one: the best so far, say.
  std::vector<std::int64_t> in_use = {};                 ///< And these: being uploaded, say.
  int keep_best = 0;             ///< And this many with the best scores; 0: none for this reason.
  bool larger_is_better = true;  ///< Of scores.
  /// The score is run_state["metrics"][metric], where run_state["evaluated_step"] is the
  /// checkpoint's own or not there.
  std::string metric{};

  /// Throws ConfigError naming all options that are out of bounds.
  void validate() const;
};

/// What the rule knows of a checkpoint.
struct Candidate {
  std::int64_t step = 0;
  std::optional<double> score = std::nullopt;  ///< None and NaN are never among the best.
};

struct Verdict {
  std::int64_t step = 0;
  std::string reason{};  ///< Why it is kept: "last 3, every 100"; empty when it is given up.

  bool kept() const { return !reason.empty(); }
};

/// A verdict on each, by step. Of equal scores that of the smallest step is the best. `candidates`
/// in any order; of two of a step the first counts. Pure.
std::vector<Verdict> judge(const Retention& retention, std::span<const Candidate> candidates);

/// The steps that are given up, ascending. Pure.
std::vector<std::int64_t> expired_steps(std::span<const Verdict> verdicts);

/// The score in a checkpoint's run state: that of the last evaluation before it. Nothing where
/// there is none. Pure.
std::optional<double> score_in(const Json& run_state, const std::string& metric);

/// The steps that `retention` gives up, ascending, where there are no scores. `steps` in any order.
/// Pure.
std::vector<std::int64_t> expired_steps(const Retention& retention,
                                        std::span<const std::int64_t> steps);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_RETENTION_H_
