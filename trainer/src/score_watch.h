// Follows one metric over the evaluations: which was best, and whether it has stopped getting
// better. Pure.
#ifndef MUSTER_TRAINER_SRC_SCORE_WATCH_H_
#define MUSTER_TRAINER_SRC_SCORE_WATCH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/json.h"

namespace muster::internal {

struct ScoreRule {
  std::string metric;
  bool larger_is_better = false;
  std::int64_t patience = 0;  ///< Evaluations without progress that are too many; 0: any number.
  double min_delta = 0;       ///< What counts as progress is better by more than this.
};

/// "max:accuracy" or "min:loss". Throws ConfigError that begins with "--score".
ScoreRule parse_score(const std::string& text);

class ScoreWatch {
 public:
  explicit ScoreWatch(ScoreRule rule) : rule_(std::move(rule)) {}

  const std::string& metric() const { return rule_.metric; }
  const ScoreRule& rule() const { return rule_; }
  /// The evaluation after update `step`. Returns whether it is the best so far; a value that is not
  /// finite never is.
  bool add(std::int64_t step, double value);
  /// The weights of `step` were not saved: what was best before is the best again, where it was.
  void forget(std::int64_t step);
  /// The step of the best evaluation.
  std::optional<std::int64_t> best_step() const;
  /// Requires a best_step().
  double best() const { return bests_.back().value; }
  /// Patience has run out.
  bool exhausted() const { return rule_.patience > 0 && without_progress_ >= rule_.patience; }

  Json to_json() const;
  /// Goes on from what to_json() gave, perhaps of a run that followed another metric: then false,
  /// and nothing is taken over. Throws CheckpointError naming `origin`.
  bool restore(const Json& json, const std::string& origin);

 private:
  bool better(double value, double than, double delta) const;

  ScoreRule rule_;
  struct Best {
    std::int64_t step;
    double value;
  };
  std::vector<Best> bests_;          // each better than the one before
  std::optional<double> reference_;  // the latest that was progress
  std::int64_t without_progress_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_SCORE_WATCH_H_
