// Reading a flight recorder's file, also while its rank writes to it.
#ifndef MUSTER_BASE_FLIGHT_LOG_H_
#define MUSTER_BASE_FLIGHT_LOG_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/flight_format.h"
#include "muster/base/process_identity.h"

namespace muster {

/// One operation, as its rank recorded it. Times as in FlightLog.
struct FlightOperation {
  std::uint32_t communicator = 0;
  std::uint64_t sequence = 0;
  FlightState state = FlightState::kQueued;
  std::string operation;
  std::string dtype;
  std::string combine;
  std::int64_t elements = 0;  ///< -1: it differs over ranks; `bytes` too.
  std::int64_t bytes = 0;
  FlightPeer peer_role = FlightPeer::kNone;
  std::int32_t peer = -1;
  std::int64_t queued_ns = 0;
  std::int64_t started_ns = 0;  ///< 0: it has not.
  std::int64_t ended_ns = 0;

  /// Of all ranks of the communicator, and not between two.
  bool is_collective() const {
    return peer_role != FlightPeer::kTo && peer_role != FlightPeer::kFrom;
  }
  /// "all_reduce(sum, float32, 64 elements)".
  std::string description() const;
};

struct FlightCommunicator {
  std::uint32_t id = 0;
  int rank = 0;  ///< Within the communicator.
  int size = 0;
  std::string name;
};

/// What one rank's file says. Times are in ns on the rank's CLOCK_MONOTONIC.
struct FlightLog {
  std::filesystem::path path;
  int rank = 0;
  int world_size = 0;
  int generation = 0;
  std::string run_id;
  ProcessIdentity process;
  std::int64_t anchor_monotonic_ns = 0;  ///< The same moment on both clocks.
  std::int64_t anchor_wall_ns = 0;
  FlightEnd end = FlightEnd::kOpen;
  std::int64_t end_ns = 0;    ///< 0 with kOpen.
  std::uint64_t dropped = 0;  ///< Operations that were not recorded.
  std::vector<FlightCommunicator> communicators;
  std::vector<FlightOperation> operations;  ///< As they were issued.
  int unfinished_records = 0;  ///< Left out: they were being written, or the process died at it.
  /// What is wrong with the file, and does not keep the rest from being read; "" when nothing is.
  std::string problem;
};

/// Blocks. Throws FileError when the file cannot be read, DataError naming it when nothing in it
/// can be trusted: it is too short, no flight record, of another format version, or its header is
/// damaged.
FlightLog read_flight_log(const std::filesystem::path& path, Env& env);

}  // namespace muster

#endif  // MUSTER_BASE_FLIGHT_LOG_H_
