// How our own waits on MPI spend their time: its waits would take a core.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_NAP_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_NAP_H_

#include <chrono>

namespace muster::internal {

/// Between two looks.
inline constexpr auto kNap = std::chrono::microseconds(50);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_NAP_H_
