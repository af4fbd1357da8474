// The operations that do not end, or ended by an error, and who is missing from them. Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_FINDINGS_H_
#define MUSTER_LAUNCHER_FLIGHT_FINDINGS_H_

#include <vector>

#include "flight/operation_index.h"
#include "flight/verdict.h"

namespace muster::launcher {

/// At most one of each communicator, and one for each wait of a rank for a single other.
///
/// Of a communicator's operations it is the first that some rank waits in or gave up, and another
/// never came to or called differently: a rank that is late holds the others up there, however far
/// those have come who need not wait for it. Where there is none, the first that all ranks came to
/// and some did not end.
std::vector<Finding> find_blocked(const FlightEvidence& evidence, const std::vector<Group>& groups);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_FINDINGS_H_
