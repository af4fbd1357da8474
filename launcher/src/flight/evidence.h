// What the flight recorders of a job's ranks say, put side by side.
#ifndef MUSTER_LAUNCHER_FLIGHT_EVIDENCE_H_
#define MUSTER_LAUNCHER_FLIGHT_EVIDENCE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/flight_log.h"

namespace muster::launcher {

struct RankEvidence {
  FlightLog log;
  ProcessState process = ProcessState::kUnknown;
};

/// One generation of one job. Times are in ns since 1970, on one clock.
struct FlightEvidence {
  int world_size = 0;
  int generation = 0;
  std::string run_id;
  std::vector<RankEvidence> ranks;  ///< Whose files could be read, by rank.
  /// Now, while a process of the job is there; else the latest time of any record.
  std::int64_t now_ns = 0;
  /// Ranks that share no clock are compared by their machines' wall clocks.
  bool several_clocks = false;
  std::vector<std::string> problems;  ///< What could not be read, each a sentence.

  /// Some rank's process is there.
  bool is_live() const;
};

/// Takes logs of any order, job and clock to the evidence of the youngest job among them: logs of
/// other jobs become problems, and times (each log's own CLOCK_MONOTONIC) are put on one clock.
/// `monotonic_ns` is now, on this machine's. Pure.
FlightEvidence make_evidence(std::vector<RankEvidence> ranks, std::int64_t monotonic_ns);

/// Where the flight records of `directory` are: there itself, or in the folder generation-GGG of
/// `generation`, or of the newest one that has any. Throws ConfigError when there are none.
std::filesystem::path find_flight_directory(const std::filesystem::path& directory,
                                            std::optional<int> generation, Env& env);

/// Reads all flight-rank-*.bin of `directory`. What cannot be read is a problem. Throws ConfigError
/// when there is no such file.
FlightEvidence read_flight_evidence(const std::filesystem::path& directory, Env& env);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_EVIDENCE_H_
