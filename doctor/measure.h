// What the ranks of a world can do: compute, copy memory, and sum over each other.
#ifndef MUSTER_DOCTOR_MEASURE_H_
#define MUSTER_DOCTOR_MEASURE_H_

#include <cstdint>

#include "muster/base/json.h"
#include "muster/collectives/world.h"

namespace muster::doctor {

/// Collective. Takes some seconds and three buffers of `largest_bytes` a rank. The same on every
/// rank, but for times, which are rank 0's. Throws what the communicator throws, and InternalError
/// when a sum is wrong.
Json measure(World& world, std::int64_t largest_bytes);

}  // namespace muster::doctor

#endif  // MUSTER_DOCTOR_MEASURE_H_
