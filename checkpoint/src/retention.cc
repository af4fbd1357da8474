// The rule of retention.
#include "muster/checkpoint/retention.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "muster/base/error.h"

namespace muster::checkpoint {
namespace {

std::optional<double> number_in(const Json& table, const std::string& name) {
  const auto value = table.find(name);
  if (value == table.end() || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

std::vector<Candidate> by_step(std::span<const Candidate> candidates) {
  std::vector<Candidate> sorted(candidates.begin(), candidates.end());
  const auto earlier = [](const Candidate& a, const Candidate& b) { return a.step < b.step; };
  std::stable_sort(sorted.begin(), sorted.end(), earlier);
  const auto same = [](const Candidate& a, const Candidate& b) { return a.step == b.step; };
  sorted.erase(std::unique(sorted.begin(), sorted.end(), same), sorted.end());
  return sorted;
}

std::set<std::int64_t> best_steps(const Retention& retention, std::vector<Candidate> candidates) {
  std::erase_if(candidates,
                [](const Candidate& one) { return !one.score || std::isnan(*one.score); });
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) {
                     return retention.larger_is_better ? *a.score > *b.score : *a.score < *b.score;
                   });
  std::set<std::int64_t> best;
  for (const Candidate& one : candidates) {
    if (static_cast<int>(best.size()) == retention.keep_best) break;
    best.insert(one.step);
  }
  return best;
}

}  // namespace

void Retention::validate() const {
  std::string problems;
  const auto require = [&](bool holds, const std::string& problem) {
    if (!holds) problems += (problems.empty() ? "" : "; ") + problem;
  };
  require(keep_last >= 1, "keep_last: expected at least 1, found " + std::to_string(keep_last));
  require(keep_every >= 0,
          "keep_every: expected 0 (off) or more, found " + std::to_string(keep_every));
  require(keep_best >= 0,
          "keep_best: expected 0 (off) or more, found " + std::to_string(keep_best));
  if (!problems.empty()) throw ConfigError("checkpoint retention: " + problems);
}

std::vector<Verdict> judge(const Retention& retention, std::span<const Candidate> candidates) {
  retention.validate();
  const std::vector<Candidate> sorted = by_step(candidates);
  const std::set<std::int64_t> best = best_steps(retention, sorted);
  const auto last = static_cast<std::size_t>(retention.keep_last);
  std::vector<Verdict> verdicts;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    Verdict verdict{.step = sorted[i].step};
    const auto keep = [&](bool holds, const std::string& reason) {
      if (holds) verdict.reason += (verdict.reason.empty() ? "" : ", ") + reason;
    };
    keep(i + last >= sorted.size(), "last " + std::to_string(retention.keep_last));
    keep(retention.keep_every > 0 && verdict.step % retention.keep_every == 0,
         "every " + std::to_string(retention.keep_every));
    keep(retention.keep_step == verdict.step, "the run's best");
    keep(best.contains(verdict.step), "best " + std::to_string(retention.keep_best));
    keep(std::find(retention.in_use.begin(), retention.in_use.end(), verdict.step) !=
             retention.in_use.end(),
         "in use");
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

std::vector<std::int64_t> expired_steps(const Retention& retention,
                                        std::span<const std::int64_t> steps) {
  std::vector<Candidate> candidates;
  for (const std::int64_t step : steps) candidates.push_back({.step = step});
  return expired_steps(judge(retention, candidates));
}

std::vector<std::int64_t> expired_steps(std::span<const Verdict> verdicts) {
  std::vector<std::int64_t> expired;
  for (const Verdict& verdict : verdicts) {
    if (!verdict.kept()) expired.push_back(verdict.step);
  }
  return expired;
}

std::optional<double> score_in(const Json& run_state, const std::string& metric) {
  if (!run_state.is_object()) return std::nullopt;
  const auto metrics = run_state.find("metrics");
  if (metrics == run_state.end() || !metrics->is_object()) return std::nullopt;
  if (const auto value = number_in(*metrics, metric)) return value;
  // Of a table one number is named, as in "confusion.accuracy".
  const std::size_t dot = metric.find('.');
  if (dot == std::string::npos) return std::nullopt;
  const auto table = metrics->find(metric.substr(0, dot));
  if (table == metrics->end() || !table->is_object()) return std::nullopt;
  return number_in(*table, metric.substr(dot + 1));
}

}  // namespace muster::checkpoint
