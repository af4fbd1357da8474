// The operations of all ranks by communicator, rank and sequence number. Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_OPERATION_INDEX_H_
#define MUSTER_LAUNCHER_FLIGHT_OPERATION_INDEX_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "flight/evidence.h"

namespace muster::launcher {

/// Begun, and not ended: the rank waits in it, or died in it.
inline bool is_in_flight(const FlightOperation& operation) {
  return operation.state == FlightState::kStarted;
}
/// Begun, and ended by an error: not for an earlier operation's failure.
inline bool gave_up(const FlightOperation& operation) {
  return operation.state == FlightState::kFailed && operation.started_ns != 0;
}

/// One rank's part of a communicator. Pointers are into the evidence.
struct GroupMember {
  const RankEvidence* rank = nullptr;
  /// Operations of all ranks, by sequence number.
  std::map<std::uint64_t, const FlightOperation*> collectives;
  /// Operations between two ranks, as they were issued.
  std::vector<const FlightOperation*> transfers;

  /// Nothing when there is no record of it.
  const FlightOperation* at(std::uint64_t sequence) const;
  /// The last collective that this rank came to.
  const FlightOperation* last_begun() const;
  /// The rank has left `sequence` behind: its record is overwritten.
  bool has_passed(std::uint64_t sequence) const;
};

/// One communicator.
struct Group {
  std::string name;
  int size = 0;
  std::map<int, GroupMember> members;  ///< By rank in the world; those that are known.
  std::vector<int> world_ranks;        ///< By rank in the communicator; -1 where it is not known.

  bool is_world() const { return name == "world"; }
  /// It has an entry, which says how many ranks are in it.
  bool is_listed() const { return size > 0; }
  /// Ranks of the world that are in it, as far as is known; for the world all.
  std::vector<int> known_ranks() const;
};

/// Every communicator, the world first. Of one without an entry (a process has too many) each
/// rank's part stands alone, and is called "N of rank R".
std::vector<Group> index_operations(const FlightEvidence& evidence);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_OPERATION_INDEX_H_
