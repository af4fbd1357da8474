// Why a rank never came to an operation, in words. Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_ABSENCE_H_
#define MUSTER_LAUNCHER_FLIGHT_ABSENCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "flight/operation_index.h"

namespace muster::launcher {

/// "rank 2 never came, its last was operation 7 barrier(), ended 12.4 s ago; rank 3 left no
/// record". `absent` are ranks of the world that did not come to some operation of `groups[group]`.
std::string absence_text(const FlightEvidence& evidence, const std::vector<Group>& groups,
                         std::size_t group, const std::vector<int>& absent);

/// "operation 7 barrier()", with the communicator's name unless it is the world; without a number
/// for an operation between two ranks.
std::string operation_text(const Group& group, const FlightOperation& operation);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_ABSENCE_H_
