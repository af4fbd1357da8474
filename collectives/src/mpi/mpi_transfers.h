// Messages in flight between this rank and others.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "transport.h"

namespace muster::internal {

/// An MPI communicator, and the lock under which this process calls MPI: several of our
/// communicators may be in flight, and MPI is started for one caller at a time.
struct MpiLink {
  MPI_Comm comm = MPI_COMM_NULL;
  std::shared_ptr<std::mutex> calls;
};

/// What messages are for. Those of one purpose between two ranks match in the order of posting.
enum class MpiTag : int { kCollective = 1, kPeerData = 2, kPeerReply = 3 };

/// A set of sends and receives that are finished together. Completion is tested request by request
/// with a deadline: a blocking wait would have none, and MPI_Waitall and MPI_Testall abort or spin
/// on large requests of a dead rank in Open MPI 5.
class MpiTransfers {
 public:
  MpiTransfers(const MpiLink& link, const OperationRun& run) : link_(link), run_(run) {}

  /// The memory must stay valid until all are done or, after an error, for ever.
  void send(int to, const std::byte* data, std::int64_t bytes, MpiTag tag = MpiTag::kCollective);
  void receive(int from, std::byte* data, std::int64_t bytes, MpiTag tag = MpiTag::kCollective);

  /// Blocks until all are done. Throws PeerLost naming the rank, or Timeout naming those not heard
  /// of.
  void finish();

  /// True when all are done. Throws PeerLost.
  bool test_all();

  /// Throws Timeout when the operation is late.
  void check_in_time();

 private:
  struct Pending {
    int peer;
    MPI_Request request;
  };

  void check(int error, int peer);

  const MpiLink& link_;
  const OperationRun& run_;
  std::vector<Pending> pending_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_
