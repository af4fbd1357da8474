// Scores of positive and negative samples, for the exact area under the ROC curve.
#ifndef MUSTER_TRAINER_SCORE_RANKING_H_
#define MUSTER_TRAINER_SCORE_RANKING_H_

#include <cstdint>
#include <vector>

namespace muster {

/// How many positive and negative samples have each score. No bins: what is merged over ranks is
/// what one rank would have had. 24 bytes a distinct score.
class ScoreRanking {
 public:
  struct Entry {
    float score = 0;
    std::int64_t positives = 0;
    std::int64_t negatives = 0;
  };

  /// `score` is a number. Throws UserError for NaN.
  void add(float score, bool positive);
  void merge(const std::vector<Entry>& entries);

  /// One a distinct score, ascending.
  std::vector<Entry> entries() const;
  /// The probability that a positive sample scores higher than a negative one, equal scores
  /// counting one half (Mann and Whitney 1947); NaN where there are not both. Worked out in whole
  /// numbers up to the last division: the order of adding never shows.
  double auroc() const;

 private:
  std::vector<Entry> entries_;  // in the order added
};

}  // namespace muster

#endif  // MUSTER_TRAINER_SCORE_RANKING_H_
