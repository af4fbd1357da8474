// Finding, reading and aligning flight records.
#include "flight/evidence.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>
#include <string_view>
#include <utility>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

namespace fs = std::filesystem;

/// N of PREFIX N SUFFIX.
std::optional<int> number_in(std::string_view name, std::string_view prefix,
                             std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix) ||
      name.size() <= prefix.size() + suffix.size()) {
    return std::nullopt;
  }
  const char* const begin = name.data() + prefix.size();
  const char* const end = name.data() + name.size() - suffix.size();
  int number = 0;
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (error != std::errc() || stop != end || number < 0) return std::nullopt;
  return number;
}

std::optional<int> rank_of_file(const std::string& name) {
  return number_in(name, "flight-rank-", ".bin");
}

std::vector<std::string> names_in(const fs::path& directory, Env& env) {
  try {
    return env.list_directory(directory);
  } catch (const FileError& e) {
    throw ConfigError("muster flight: expected a directory with flight records, found that " +
                      std::string(e.what()) + "; name a run's log directory");
  }
}

bool has_flight_files(const fs::path& directory, Env& env) {
  const auto names = names_in(directory, env);
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return rank_of_file(name).has_value(); });
}

[[noreturn]] void throw_none_in(const fs::path& directory) {
  throw ConfigError("muster flight: expected flight records (flight-rank-R.bin) in " +
                    directory.string() +
                    " or in folders generation-GGG there, found none; name the log directory of a "
                    "run of a Muster program, or what MUSTER_FLIGHT_DIR was");
}

bool same_job(const FlightLog& a, const FlightLog& b) {
  return a.run_id == b.run_id && a.generation == b.generation && a.world_size == b.world_size;
}

bool same_clock(const FlightLog& a, const FlightLog& b) {
  return !a.process.boot_id.empty() && a.process.boot_id == b.process.boot_id;
}

std::int64_t to_wall_ns(const FlightLog& log) {
  return log.anchor_wall_ns - log.anchor_monotonic_ns;
}

/// Ranks of one machine share the anchor of the first of them: two anchors are never exactly alike.
const FlightLog& clock_of(const FlightLog& log, const std::vector<RankEvidence>& ranks) {
  for (const RankEvidence& other : ranks) {
    if (same_clock(other.log, log)) return other.log;
  }
  return log;
}

void shift(std::int64_t& time_ns, std::int64_t by_ns) {
  if (time_ns != 0) time_ns += by_ns;
}

void shift_times(FlightLog& log, std::int64_t by_ns) {
  shift(log.end_ns, by_ns);
  for (FlightOperation& operation : log.operations) {
    shift(operation.queued_ns, by_ns);
    shift(operation.started_ns, by_ns);
    shift(operation.ended_ns, by_ns);
  }
}

std::int64_t latest_ns(const FlightEvidence& evidence) {
  std::int64_t latest = 0;
  for (const RankEvidence& rank : evidence.ranks) {
    latest = std::max(latest, rank.log.end_ns);
    for (const FlightOperation& operation : rank.log.operations) {
      latest = std::max({latest, operation.queued_ns, operation.started_ns, operation.ended_ns});
    }
  }
  return latest;
}

bool is_there(const RankEvidence& rank) {
  return rank.process == ProcessState::kRunning || rank.process == ProcessState::kStopped;
}

void put_on_one_clock(FlightEvidence& evidence, std::int64_t monotonic_ns) {
  std::vector<std::int64_t> shifts;
  for (const RankEvidence& rank : evidence.ranks) {
    shifts.push_back(to_wall_ns(clock_of(rank.log, evidence.ranks)));
    if (!same_clock(rank.log, evidence.ranks.front().log)) evidence.several_clocks = true;
  }
  for (std::size_t i = 0; i < shifts.size(); ++i) {
    shift_times(evidence.ranks[i].log, shifts[i]);
    // A process that can be looked at is of this machine.
    if (is_there(evidence.ranks[i])) evidence.now_ns = monotonic_ns + shifts[i];
  }
  if (evidence.now_ns == 0) evidence.now_ns = latest_ns(evidence);
}

void note_what_is_missing(FlightEvidence& evidence) {
  std::set<int> present;
  for (const RankEvidence& rank : evidence.ranks) present.insert(rank.log.rank);
  for (int rank = 0; rank < evidence.world_size; ++rank) {
    if (present.contains(rank)) continue;
    evidence.problems.push_back("rank " + std::to_string(rank) + ": no " + flight_file_name(rank) +
                                " that can be read");
  }
}

void note_what_is_wrong(const FlightLog& log, std::vector<std::string>& problems) {
  const std::string name = log.path.filename().string() + ": ";
  if (!log.problem.empty()) problems.push_back(name + log.problem);
  if (log.unfinished_records > 0) {
    problems.push_back(name + std::to_string(log.unfinished_records) +
                       " records were being written and are left out");
  }
  if (log.dropped > 0) {
    problems.push_back(name + std::to_string(log.dropped) +
                       " operations were not recorded, since thousands were in flight");
  }
}

}  // namespace

bool FlightEvidence::is_live() const { return std::any_of(ranks.begin(), ranks.end(), is_there); }

FlightEvidence make_evidence(std::vector<RankEvidence> ranks, std::int64_t monotonic_ns) {
  FlightEvidence evidence;
  if (ranks.empty()) return evidence;
  std::sort(ranks.begin(), ranks.end(),
            [](const RankEvidence& a, const RankEvidence& b) { return a.log.rank < b.log.rank; });
  const FlightLog youngest =
      std::max_element(ranks.begin(), ranks.end(), [](const RankEvidence& a, const auto& b) {
        return a.log.anchor_wall_ns < b.log.anchor_wall_ns;
      })->log;
  evidence.world_size = youngest.world_size;
  evidence.generation = youngest.generation;
  evidence.run_id = youngest.run_id;
  for (RankEvidence& rank : ranks) {
    if (same_job(rank.log, youngest)) {
      note_what_is_wrong(rank.log, evidence.problems);
      evidence.ranks.push_back(std::move(rank));
    } else {
      evidence.problems.push_back(rank.log.path.filename().string() +
                                  ": of another job in the same directory, left out");
    }
  }
  note_what_is_missing(evidence);
  put_on_one_clock(evidence, monotonic_ns);
  return evidence;
}

fs::path find_flight_directory(const fs::path& directory, std::optional<int> generation, Env& env) {
  if (!generation && has_flight_files(directory, env)) return directory;
  std::optional<int> newest;
  fs::path found;
  for (const std::string& name : names_in(directory, env)) {
    const auto number = number_in(name, "generation-", "");
    if (!number || (generation && *number != *generation) || (newest && *number < *newest)) {
      continue;
    }
    if (!has_flight_files(directory / name, env)) continue;
    newest = number;
    found = directory / name;
  }
  if (!newest) throw_none_in(directory);
  return found;
}

FlightEvidence read_flight_evidence(const fs::path& directory, Env& env) {
  std::vector<RankEvidence> ranks;
  std::vector<std::string> problems;
  bool found = false;
  for (const std::string& name : names_in(directory, env)) {
    if (!rank_of_file(name)) continue;
    found = true;
    try {
      FlightLog log = read_flight_log(directory / name, env);
      const ProcessState process = process_state(log.process);
      ranks.push_back({std::move(log), process});
    } catch (const DataError& e) {
      problems.emplace_back(e.what());
    } catch (const FileError& e) {
      problems.emplace_back(e.what());
    }
  }
  if (!found) throw_none_in(directory);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  FlightEvidence evidence = make_evidence(std::move(ranks), std::chrono::nanoseconds(now).count());
  evidence.problems.insert(evidence.problems.begin(), problems.begin(), problems.end());
  return evidence;
}

}  // namespace muster::launcher
