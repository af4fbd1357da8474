// Messages in flight between this rank and others.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mpi/mpi_peers.h"
#include "transport.h"

namespace muster::internal {

/// How a collective begins between two ranks.
struct Greeting {
  Signature signature;
  std::int64_t count = 0;     ///< Of the part for the other, where counts are not agreed on.
  std::int64_t expected = 0;  ///< Of the part that the other gives.
  std::int64_t mailbox = 0;   ///< Of the sender, in the communicator that is made now, if one is.
};

/// A set of sends and receives that are finished together. Completion is tested request by request
/// with a deadline: a blocking wait would have none, and MPI_Waitall and MPI_Testall abort or spin
/// on large requests of a dead rank in Open MPI 5.
class MpiTransfers {
 public:
  MpiTransfers(const MpiLink& link, MpiPeers& peers, const OperationRun& run)
      : link_(link), peers_(peers), run_(run) {}
  /// After an error `peers` gets what is left.
  ~MpiTransfers();
  MpiTransfers(const MpiTransfers&) = delete;
  MpiTransfers& operator=(const MpiTransfers&) = delete;

  /// The memory must stay valid until all are done or, after an error, until MpiPeers has ended
  /// them.
  void send(int to, const std::byte* data, std::int64_t bytes, MpiTag tag = MpiTag::kCollective);
  void receive(int from, std::byte* data, std::int64_t bytes, MpiTag tag = MpiTag::kCollective);

  /// Blocks until all are done. Throws PeerLost naming the rank, or Timeout naming those not heard
  /// of.
  void finish();

  /// True when all are done. Throws PeerLost.
  bool test_all();

  /// Throws when the operation is late, is not wanted any more, or a rank said that it will not
  /// come.
  void check();

 private:
  struct Pending {
    int peer;
    MPI_Request request;
  };

  const MpiLink& link_;
  MpiPeers& peers_;
  const OperationRun& run_;
  std::vector<Pending> pending_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSFERS_H_
