// Best scores and patience.
#include "score_watch.h"

#include <cmath>

#include "muster/base/error.h"

namespace muster::internal {

ScoreRule parse_score(const std::string& text) {
  const std::string way = text.substr(0, 4);
  if ((way != "min:" && way != "max:") || text.size() == way.size()) {
    throw ConfigError("--score: expected min:METRIC or max:METRIC, found '" + text +
                      "'; write max:accuracy, say");
  }
  return {.metric = text.substr(way.size()), .larger_is_better = way == "max:"};
}

bool ScoreWatch::better(double value, double than, double delta) const {
  return rule_.larger_is_better ? value > than + delta : value < than - delta;
}

bool ScoreWatch::add(std::int64_t step, double value) {
  const bool number = std::isfinite(value);
  if (number && (!reference_ || better(value, *reference_, rule_.min_delta))) {
    reference_ = value;
    without_progress_ = 0;
  } else {
    ++without_progress_;
  }
  if (!number || !(bests_.empty() || better(value, best(), 0))) return false;
  bests_.push_back({step, value});
  return true;
}

void ScoreWatch::forget(std::int64_t step) {
  std::erase_if(bests_, [&](const Best& best) { return best.step == step; });
}

std::optional<std::int64_t> ScoreWatch::best_step() const {
  if (bests_.empty()) return std::nullopt;
  return bests_.back().step;
}

Json ScoreWatch::to_json() const {
  Json json = {{"metric", rule_.metric},
               {"larger_is_better", rule_.larger_is_better},
               {"without_progress", without_progress_}};
  if (reference_) json["reference"] = *reference_;
  if (!bests_.empty()) {
    json["best_step"] = bests_.back().step;
    json["best"] = bests_.back().value;
  }
  return json;
}

bool ScoreWatch::restore(const Json& json, const std::string& origin) {
  try {
    if (json.at("metric") != rule_.metric || json.at("larger_is_better") != rule_.larger_is_better)
      return false;
    without_progress_ = json.at("without_progress").get<std::int64_t>();
    if (json.contains("reference")) reference_ = json.at("reference").get<double>();
    if (!json.contains("best_step")) return true;
    bests_ = {{json.at("best_step").get<std::int64_t>(), json.at("best").get<double>()}};
    return true;
  } catch (const Json::exception& e) {
    throw CheckpointError(origin + ": expected the best score of a run, found: " + e.what() +
                          "; restore an older checkpoint, or give --fresh");
  }
}

}  // namespace muster::internal
