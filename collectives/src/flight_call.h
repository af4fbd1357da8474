// What a flight recorder keeps of an operation.
#ifndef MUSTER_COLLECTIVES_SRC_FLIGHT_CALL_H_
#define MUSTER_COLLECTIVES_SRC_FLIGHT_CALL_H_

#include "muster/base/flight_recorder.h"
#include "operation.h"

namespace muster::internal {

/// Its texts are literals, or `operation`'s.
FlightCall flight_call(const Operation& operation);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_FLIGHT_CALL_H_
