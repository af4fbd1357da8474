// Metrics over ranks: sums through the tree, rankings as they are.
#include "metric_exchange.h"

#include <cstring>
#include <string>

#include "muster/base/error.h"
#include "text_exchange.h"
#include "tree_vector.h"

namespace muster::internal {
namespace {

/// Names and kinds, with nothing in them.
MetricSums empty_like(const Json& description) {
  MetricSums sums;
  for (const Json& metric : description.at("sums"))
    sums.metric(metric.at(0).get<std::string>(), metric.at(1).get<bool>());
  for (const Json& matrix : description.at("confusions"))
    sums.confusion(matrix.at(0).get<std::string>(), matrix.at(1).get<std::int64_t>());
  for (const Json& name : description.at("rankings")) sums.ranking(name.get<std::string>());
  return sums;
}

Json describe(const MetricSums& sums) {
  Json description = {
      {"sums", Json::array()}, {"confusions", Json::array()}, {"rankings", Json::array()}};
  for (const Metric& m : sums.metrics()) description["sums"].push_back({m.name, m.perplexity});
  for (const auto& [name, matrix] : sums.confusions())
    description["confusions"].push_back({name, matrix.classes()});
  for (const auto& [name, ranking] : sums.rankings()) description["rankings"].push_back(name);
  return description;
}

/// `leaf` in the order of `frame`, with zeros for what it lacks.
MetricSums framed(const MetricSums& frame, const MetricSums& leaf) {
  MetricSums result = frame;
  const Json expected = describe(frame);
  const auto has = [&](const char* kind, const Json& entry) {
    for (const Json& known : expected.at(kind)) {
      if (known == entry) return;
    }
    throw Mismatch("evaluate_batch(): expected the metrics that rank 0 adds, found " +
                   entry.dump() + " on another rank only; add the same names for every batch");
  };
  const Json found = describe(leaf);
  for (const char* kind : {"sums", "confusions", "rankings"}) {
    for (const Json& entry : found.at(kind)) has(kind, entry);
  }
  for (const Metric& m : leaf.metrics()) {
    Metric& metric = result.metric(m.name, m.perplexity);
    metric.sum = m.sum;
    metric.count = m.count;
  }
  for (const auto& [name, matrix] : leaf.confusions())
    result.confusion(name, matrix.classes()) = matrix;
  for (const auto& [name, ranking] : leaf.rankings()) result.ranking(name) = ranking;
  return result;
}

std::vector<double> to_vector(const MetricSums& sums) {
  std::vector<double> values;
  for (const Metric& metric : sums.metrics()) {
    values.push_back(metric.sum);
    values.push_back(metric.count);
  }
  for (const auto& [name, matrix] : sums.confusions())
    values.insert(values.end(), matrix.counts().begin(), matrix.counts().end());
  return values;
}

void from_vector(const std::vector<double>& values, MetricSums& sums) {
  auto next = values.begin();
  for (const Metric& m : sums.metrics()) {
    Metric& metric = sums.metric(m.name, m.perplexity);
    metric.sum = *next++;
    metric.count = *next++;
  }
  for (auto& [name, matrix] : sums.confusions()) {
    for (std::int64_t label = 0; label < matrix.classes(); ++label) {
      for (std::int64_t c = 0; c < matrix.classes(); ++c) matrix.add(label, c, *next++);
    }
  }
}

using Entry = ScoreRanking::Entry;

/// Every rank's entries, all together: their counts are whole numbers, so no order shows.
void join_rankings(Communicator& communicator, const std::vector<MetricSums>& leaves,
                   MetricSums& result) {
  for (std::size_t i = 0; i < result.rankings().size(); ++i) {
    ScoreRanking own;
    for (const MetricSums& leaf : leaves) own.merge(leaf.rankings()[i].second.entries());
    const std::vector<Entry> entries = own.entries();
    const std::string bytes(reinterpret_cast<const char*>(entries.data()),
                            entries.size() * sizeof(Entry));
    for (const std::string& text : gather_texts(communicator, bytes)) {
      std::vector<Entry> theirs(text.size() / sizeof(Entry));
      if (!theirs.empty()) std::memcpy(theirs.data(), text.data(), text.size());
      result.rankings()[i].second.merge(theirs);
    }
  }
}

}  // namespace

MetricSums join_metrics(Communicator& communicator, int logical_ranks, LogicalRange run,
                        const std::vector<MetricSums>& leaves) {
  const std::string description = broadcast_text(communicator, describe(leaves.front()).dump());
  MetricSums result = empty_like(parse_json(description, "rank 0's metrics"));
  const std::size_t width = to_vector(result).size();
  TreeVector tree_vector(logical_ranks, run, width);
  std::vector<MetricSums> ordered;
  for (const MetricSums& leaf : leaves) {
    ordered.push_back(framed(result, leaf));
    tree_vector.add_leaf(to_vector(ordered.back()));
  }
  if (width > 0) {
    tree_vector.reduce(communicator, ReductionTree(logical_ranks)).wait();
    from_vector(tree_vector.sum(), result);
  }
  join_rankings(communicator, ordered, result);
  return result;
}

Json metrics_to_json(const MetricSums& sums) {
  Json json = Json::object();
  for (const Metric& metric : sums.metrics()) json[metric.name] = metric.value();
  for (const auto& [name, ranking] : sums.rankings()) json[name] = ranking.auroc();
  for (const auto& [name, matrix] : sums.confusions()) {
    Json& entry = json[name];
    entry = {{"accuracy", matrix.accuracy()}, {"macro_f1", matrix.macro_f1()}};
    for (std::int64_t c = 0; c < matrix.classes(); ++c) {
      entry["precision"].push_back(matrix.precision(c));
      entry["recall"].push_back(matrix.recall(c));
      entry["f1"].push_back(matrix.f1(c));
      Json row = Json::array();
      for (std::int64_t p = 0; p < matrix.classes(); ++p)
        row.push_back(static_cast<std::int64_t>(matrix.count(c, p)));
      entry["counts"].push_back(std::move(row));
    }
  }
  return json;
}

}  // namespace muster::internal
