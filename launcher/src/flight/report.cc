// Tables and JSON.
#include "flight/report.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <span>
#include <utility>

#include "announcement.h"
#include "flight/flight_words.h"

namespace muster::launcher {
namespace {

const char* process_name(ProcessState state) {
  switch (state) {
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kStopped:
      return "stopped";
    case ProcessState::kGone:
      return "gone";
    case ProcessState::kUnknown:
      break;
  }
  return "unknown";
}

const char* end_name(FlightEnd end) {
  switch (end) {
    case FlightEnd::kLeft:
      return "left in order";
    case FlightEnd::kFailed:
      return "left by an error";
    case FlightEnd::kOpen:
      break;
  }
  return "open";
}

/// "14:03:07.123456", UTC.
std::string clock_text(std::int64_t wall_ns) {
  const std::time_t seconds = wall_ns / 1'000'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[48];
  std::snprintf(text, sizeof text, "%02d:%02d:%02d.%06lld", utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<long long>(wall_ns % 1'000'000'000 / 1000));
  return text;
}

/// A table whose columns are as wide as their widest cell; the last is not filled up.
class Table {
 public:
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  std::string text() const {
    std::vector<std::size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows_) {
      text += " ";
      for (std::size_t i = 0; i < row.size(); ++i) {
        text += " " + row[i];
        if (i + 1 < row.size()) text += std::string(widths[i] - row[i].size() + 1, ' ');
      }
      text += "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string fate_text(const TimelineRow& row) {
  if (!row.waiting.empty()) return named_ranks(row.waiting) + " not out of it";
  if (!row.failed.empty()) return named_ranks(row.failed) + " gave up";
  return "ended";
}

std::span<const TimelineRow> last_rows(const FlightReport& report, std::size_t last) {
  const std::span<const TimelineRow> rows = report.rows;
  return rows.last(std::min(last, rows.size()));
}

bool has_parts(std::span<const TimelineRow> rows) {
  return std::any_of(rows.begin(), rows.end(),
                     [](const TimelineRow& row) { return row.communicator != "world"; });
}

std::string operations_table(std::span<const TimelineRow> rows) {
  const bool parts = has_parts(rows);
  Table table;
  const auto add = [&](const std::string& number, const std::string& communicator,
                       std::vector<std::string> cells) {
    if (parts) cells.insert(cells.begin(), communicator);
    cells.insert(cells.begin(), number);
    table.add(std::move(cells));
  };
  add("#", "communicator", {"operation", "ranks", "first start", "skew", "last", "took", "end"});
  for (const TimelineRow& row : rows) {
    const bool several = row.came.size() > 1;
    add(row.is_collective ? std::to_string(row.sequence) : "-", row.communicator,
        {row.operation, rank_list(row.came), clock_text(row.first_start_ns),
         several ? duration_text(row.skew_ns) : "-",
         several ? "rank " + std::to_string(row.last_rank) : "-",
         row.waiting.empty() ? duration_text(row.took_ns) : "-", fate_text(row)});
  }
  return table.text();
}

std::string lateness_table(const std::vector<Lateness>& lateness) {
  Table table;
  table.add({"rank", "last to come", "behind the one before: median", "most", "in all"});
  for (const Lateness& one : lateness) {
    table.add({std::to_string(one.rank),
               std::to_string(one.times_last) + " of " + std::to_string(one.operations),
               duration_text(one.median_ns), duration_text(one.most_ns),
               duration_text(one.total_ns)});
  }
  return table.text();
}

Json finding_json(const Finding& finding) {
  return {{"communicator", finding.communicator},
          {"sequence", finding.sequence},
          {"operation", finding.operation},
          {"waiting", finding.waiting},
          {"failed", finding.failed},
          {"ended_inside", finding.ended_inside},
          {"absent", finding.absent},
          {"disagreeing", finding.disagreeing},
          {"waited_s", static_cast<double>(finding.waited_ns) / 1e9},
          {"sentence", finding.sentence}};
}

Json rank_json(const RankEvidence& rank) {
  return {{"rank", rank.log.rank},         {"host", rank.log.process.host},
          {"pid", rank.log.process.pid},   {"process", process_name(rank.process)},
          {"end", end_name(rank.log.end)}, {"operations", rank.log.operations.size()}};
}

Json row_json(const TimelineRow& row) {
  Json json = {{"communicator", row.communicator},
               {"operation", row.operation},
               {"bytes", row.bytes},
               {"ranks", row.came},
               {"waiting", row.waiting},
               {"failed", row.failed},
               {"first_start_unix_ns", row.first_start_ns},
               {"skew_ns", row.skew_ns},
               {"last_rank", row.last_rank},
               {"took_ns", row.took_ns}};
  if (row.is_collective) json["sequence"] = row.sequence;
  return json;
}

Json lateness_json(const Lateness& one) {
  return {
      {"rank", one.rank},           {"operations", one.operations}, {"times_last", one.times_last},
      {"median_ns", one.median_ns}, {"most_ns", one.most_ns},       {"total_ns", one.total_ns}};
}

template <typename Values, typename ToJson>
Json array_of(const Values& values, const ToJson& to_json) {
  Json array = Json::array();
  for (const auto& value : values) array.push_back(to_json(value));
  return array;
}

}  // namespace

FlightReport make_flight_report(std::filesystem::path directory, FlightEvidence evidence) {
  FlightReport report;
  report.directory = std::move(directory);
  report.evidence = std::move(evidence);
  report.verdict = judge(report.evidence);
  const std::vector<Group> groups = index_operations(report.evidence);
  report.rows = make_timeline(groups);
  for (const Group& group : groups) {
    if (group.is_listed()) continue;
    for (const auto& [rank, member] : group.members) report.ranks_with_unlisted.insert(rank);
  }
  report.lateness = measure_lateness(report.rows);
  report.stragglers = name_stragglers(report.rows, report.lateness);
  return report;
}

std::string flight_report_text(const FlightReport& report, std::size_t last) {
  const FlightEvidence& evidence = report.evidence;
  std::string text = report.directory.string() + ": generation " +
                     std::to_string(evidence.generation) + ", " + ranks_text(evidence.world_size);
  if (!evidence.run_id.empty()) text += ", run " + evidence.run_id;
  text += "\n" + std::string(job_state_name(report.verdict.state)) + ": " +
          report.verdict.sentence + "\n";
  for (std::size_t i = 1; i < report.verdict.findings.size(); ++i) {
    text += "also: " + report.verdict.findings[i].sentence + "\n";
  }
  for (const std::string& straggler : report.stragglers) text += "slow: " + straggler + "\n";
  for (const std::string& problem : evidence.problems) text += "not read: " + problem + "\n";
  if (evidence.several_clocks) {
    text +=
        "note: the ranks ran on several machines; skews between these are no more exact than "
        "their clocks\n";
  }
  if (!report.ranks_with_unlisted.empty()) {
    const std::vector<int> ranks(report.ranks_with_unlisted.begin(),
                                 report.ranks_with_unlisted.end());
    text += "note: " + named_ranks(ranks) + " had more communicators than the " +
            std::to_string(kFlightCommunicators) +
            " that a record has room for; what was done on the others is told rank by rank\n";
  }
  const auto rows = last_rows(report, last);
  if (!rows.empty()) {
    text += "\nthe last " + std::to_string(rows.size()) + " of " +
            std::to_string(report.rows.size()) + " operations (UTC):\n" + operations_table(rows);
  }
  if (!report.lateness.empty()) text += "\nwho came late:\n" + lateness_table(report.lateness);
  return text;
}

Json flight_report_json(const FlightReport& report, std::size_t last) {
  const FlightEvidence& evidence = report.evidence;
  return {{"directory", report.directory.string()},
          {"run_id", evidence.run_id},
          {"generation", evidence.generation},
          {"world_size", evidence.world_size},
          {"state", job_state_name(report.verdict.state)},
          {"verdict", report.verdict.sentence},
          {"findings", array_of(report.verdict.findings, finding_json)},
          {"problems", evidence.problems},
          {"several_clocks", evidence.several_clocks},
          {"ranks_with_unlisted_communicators", report.ranks_with_unlisted},
          {"ranks", array_of(evidence.ranks, rank_json)},
          {"operations", array_of(last_rows(report, last), row_json)},
          {"lateness", array_of(report.lateness, lateness_json)},
          {"stragglers", report.stragglers}};
}

}  // namespace muster::launcher
