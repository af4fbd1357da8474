// Operations by MPI messages, within and between nodes.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_

#include <mpi.h>

#include <vector>

#include "mpi/mpi_transfers.h"
#include "transport.h"

namespace muster::internal {

/// The owner of a slice receives it from every rank, combines in plan order and sends the result to
/// every rank: the bytes of a ring, and bits that depend on nothing but the plan. Each operation
/// begins with an exchange of signatures.
class MpiTransport : public Transport {
 public:
  /// Collective. Duplicates `comm`.
  explicit MpiTransport(MPI_Comm comm);
  // The duplicate is left to MPI_Finalize: freeing it is collective, and others may be dead.
  ~MpiTransport() override = default;

  void run(const OperationRun& run) override;
  void give_up() noexcept override;
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;

 private:
  void exchange_signatures(const OperationRun& run);
  void reduce_for_all(const OperationRun& run);
  void reduce_for_self(const OperationRun& run);
  void all_gather(const OperationRun& run);
  void broadcast(const OperationRun& run);

  // Receives ranges of `bytes` of all parts of other ranks for this rank into scratch_, and gives
  // what combines them.
  std::vector<const std::byte*> receive_sources(const Operation& op, std::int64_t own_offset_bytes,
                                                std::int64_t bytes, MpiTransfers& transfers);

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int world_size_ = 1;
  std::vector<Signature> signatures_;
  std::vector<std::byte>
      scratch_;  // a member: messages in flight may write to it even after an error
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_
