// Messages in flight between this rank and others.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport.h"

namespace muster::internal {

/// A set of sends and receives that are finished together. Messages between two ranks match in the
/// order in which they were posted. Completion is tested request by request with a deadline: a
/// blocking wait would have none, and MPI_Waitall and MPI_Testall abort or spin on large requests
/// of a dead rank in Open MPI 5.
class MpiTransfers {
 public:
  MpiTransfers(MPI_Comm comm, const OperationRun& run) : comm_(comm), run_(run) {}

  /// The memory must stay valid until finish() returns or, when it throws, for ever.
  void send(int to, const std::byte* data, std::int64_t bytes);
  void receive(int from, std::byte* data, std::int64_t bytes);

  /// Blocks until all are done. Throws PeerLost naming the rank, or Timeout naming those not heard
  /// of.
  void finish();

 private:
  struct Pending {
    int peer;
    MPI_Request request;
  };

  bool test_all();
  void check(int error, int peer);
  [[noreturn]] void throw_timeout();

  MPI_Comm comm_;
  const OperationRun& run_;
  std::vector<Pending> pending_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_
