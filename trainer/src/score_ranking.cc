// Ranking scores.
#include "muster/trainer/score_ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "muster/base/error.h"

namespace muster {

void ScoreRanking::add(float score, bool positive) {
  if (std::isnan(score)) {
    throw UserError(
        "AUROC: expected scores that are numbers, found NaN; look at the model's outputs, or leave "
        "such samples out");
  }
  entries_.push_back({score, positive ? 1 : 0, positive ? 0 : 1});
}

void ScoreRanking::merge(const std::vector<Entry>& entries) {
  entries_.insert(entries_.end(), entries.begin(), entries.end());
}

std::vector<ScoreRanking::Entry> ScoreRanking::entries() const {
  std::vector<Entry> sorted = entries_;
  std::sort(sorted.begin(), sorted.end(),
            [](const Entry& a, const Entry& b) { return a.score < b.score; });
  std::vector<Entry> distinct;
  for (const Entry& entry : sorted) {
    if (distinct.empty() || distinct.back().score != entry.score) {
      distinct.push_back(entry);
      continue;
    }
    distinct.back().positives += entry.positives;
    distinct.back().negatives += entry.negatives;
  }
  return distinct;
}

double ScoreRanking::auroc() const {
  using Wide = unsigned __int128;
  Wide twice_won = 0;
  std::uint64_t positives = 0, negatives = 0;
  for (const Entry& entry : entries()) {
    const auto here = static_cast<std::uint64_t>(entry.negatives);
    twice_won += static_cast<Wide>(entry.positives) * (2 * negatives + here);
    positives += static_cast<std::uint64_t>(entry.positives);
    negatives += here;
  }
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(twice_won) /
         (2.0 * static_cast<double>(positives) * static_cast<double>(negatives));
}

}  // namespace muster
