// What `muster flight` prints. Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_REPORT_H_
#define MUSTER_LAUNCHER_FLIGHT_REPORT_H_

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "flight/timeline.h"
#include "flight/verdict.h"
#include "muster/base/json.h"

namespace muster::launcher {

/// All that is known of one generation's operations.
struct FlightReport {
  std::filesystem::path directory;
  FlightEvidence evidence;
  Verdict verdict;
  std::vector<TimelineRow> rows;
  std::vector<Lateness> lateness;
  std::vector<std::string> stragglers;
  std::set<int> ranks_with_unlisted;  ///< Communicators; see Group::is_listed().
};

FlightReport make_flight_report(std::filesystem::path directory, FlightEvidence evidence);

/// For people: the verdict, what could not be read, the last `last` operations, who comes late.
std::string flight_report_text(const FlightReport& report, std::size_t last);

/// For programs; the members are described in docs/flight_recorder.md.
Json flight_report_json(const FlightReport& report, std::size_t last);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_REPORT_H_
