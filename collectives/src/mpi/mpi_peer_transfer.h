// A send or receive by MPI messages.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_PEER_TRANSFER_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_PEER_TRANSFER_H_

#include <memory>

#include "mpi/mpi_peers.h"
#include "mpi/mpi_transfers.h"
#include "transport.h"

namespace muster::internal {

/// The sender sends its signature and the data; the receiver answers with its own signature as soon
/// as it is there, so that both know when they do not fit. The data of a misfit are not received.
class MpiPeerTransfer : public Transfer {
 public:
  MpiPeerTransfer(const MpiLink& link, MpiPeers& peers, const OperationRun& run);
  ~MpiPeerTransfer() override;

  Turn advance(const OperationRun& run) override;
  void check(const OperationRun& run) override;

 private:
  // MPI may write to it even after an error, when this object is gone.
  struct Greetings {
    Signature ours;
    Signature theirs;
  };

  [[noreturn]] void throw_went_on(const OperationRun& run);

  const MpiLink& link_;
  const bool sends_;
  Greetings* greetings_;
  MpiTransfers handshake_;
  MpiTransfers data_;
  bool met_ = false;
  bool ended_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_PEER_TRANSFER_H_
