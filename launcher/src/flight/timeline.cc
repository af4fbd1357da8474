// Rows and sums.
#include "flight/timeline.h"

#include <algorithm>
#include <map>
#include <set>

#include "flight/flight_words.h"

namespace muster::launcher {
namespace {

using Records = std::map<int, const FlightOperation*>;

void take_starts(TimelineRow& row, const Records& records) {
  std::vector<std::pair<std::int64_t, int>> starts;
  for (const auto& [rank, operation] : records) {
    starts.emplace_back(operation->started_ns, rank);
    row.came.push_back(rank);
    if (is_in_flight(*operation)) row.waiting.push_back(rank);
    if (gave_up(*operation)) row.failed.push_back(rank);
  }
  std::sort(starts.begin(), starts.end());
  row.first_start_ns = starts.front().first;
  row.last_rank = starts.back().second;
  row.skew_ns = starts.back().first - starts.front().first;
  if (starts.size() > 1) row.late_ns = starts.back().first - starts[starts.size() - 2].first;
  const FlightOperation& first = *records.at(starts.front().second);
  row.operation = first.description();
  row.sequence = first.sequence;
  row.bytes = first.bytes;
}

void take_ends(TimelineRow& row, const Records& records) {
  std::int64_t last_end_ns = 0;
  for (const auto& [rank, operation] : records) {
    if (operation->ended_ns == 0) return;
    last_end_ns = std::max(last_end_ns, operation->ended_ns);
  }
  row.took_ns = std::max<std::int64_t>(0, last_end_ns - row.first_start_ns - row.skew_ns);
}

TimelineRow make_row(const Group& group, const Records& records) {
  TimelineRow row;
  row.communicator = group.name;
  take_starts(row, records);
  take_ends(row, records);
  row.is_whole = group.size > 1 && records.size() == static_cast<std::size_t>(group.size);
  return row;
}

void add_rows(const Group& group, std::vector<TimelineRow>& rows) {
  std::map<std::uint64_t, Records> by_sequence;
  for (const auto& [rank, member] : group.members) {
    for (const auto& [sequence, operation] : member.collectives) {
      if (operation->started_ns != 0) by_sequence[sequence][rank] = operation;
    }
    for (const FlightOperation* transfer : member.transfers) {
      if (transfer->started_ns == 0) continue;
      rows.push_back(make_row(group, {{rank, transfer}}));
      rows.back().is_collective = false;
      rows.back().is_whole = false;
    }
  }
  for (const auto& [sequence, records] : by_sequence) rows.push_back(make_row(group, records));
}

std::int64_t median(std::vector<std::int64_t> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// From the first whole row's start to the last one's.
std::int64_t span_ns(const std::vector<TimelineRow>& rows) {
  std::int64_t first = 0, last = 0;
  for (const TimelineRow& row : rows) {
    if (!row.is_whole) continue;
    if (first == 0) first = row.first_start_ns;
    last = row.first_start_ns + row.skew_ns;
  }
  return last - first;
}

}  // namespace

std::vector<TimelineRow> make_timeline(const std::vector<Group>& groups) {
  std::vector<TimelineRow> rows;
  for (const Group& group : groups) add_rows(group, rows);
  std::stable_sort(rows.begin(), rows.end(), [](const TimelineRow& a, const TimelineRow& b) {
    return a.first_start_ns < b.first_start_ns;
  });
  return rows;
}

std::vector<Lateness> measure_lateness(const std::vector<TimelineRow>& rows) {
  std::map<int, Lateness> by_rank;
  std::map<int, std::vector<std::int64_t>> late;
  for (const TimelineRow& row : rows) {
    if (!row.is_whole) continue;
    for (const int rank : row.came) {
      by_rank[rank].rank = rank;
      ++by_rank[rank].operations;
    }
    Lateness& last = by_rank[row.last_rank];
    ++last.times_last;
    last.total_ns += row.late_ns;
    last.most_ns = std::max(last.most_ns, row.late_ns);
    late[row.last_rank].push_back(row.late_ns);
  }
  std::vector<Lateness> result;
  for (auto& [rank, lateness] : by_rank) {
    lateness.median_ns = median(late[rank]);
    result.push_back(lateness);
  }
  return result;
}

std::vector<std::string> name_stragglers(const std::vector<TimelineRow>& rows,
                                         const std::vector<Lateness>& lateness) {
  const std::int64_t span = span_ns(rows);
  std::vector<std::string> named;
  for (const Lateness& one : lateness) {
    const auto ranks = static_cast<std::int64_t>(lateness.size());
    const bool often = one.times_last * ranks >= 2 * one.operations;
    const bool costly = one.total_ns > 0 && one.total_ns * 20 >= span;
    if (!often || !costly) continue;
    named.push_back("rank " + std::to_string(one.rank) + " came last in " +
                    std::to_string(one.times_last) + " of " + std::to_string(one.operations) +
                    " operations and held the others up for " + duration_text(one.total_ns) +
                    " of " + duration_text(span));
  }
  return named;
}

}  // namespace muster::launcher
