// Operations by MPI messages, within and between nodes.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_

#include <memory>
#include <vector>

#include "mpi/mpi_transfers.h"
#include "transport.h"

namespace muster::internal {

/// The owner of a slice receives it from every rank, combines in plan order and sends the result to
/// every rank: the bytes of a ring, and bits that depend on nothing but the plan. Each operation
/// begins with an exchange of signatures.
class MpiTransport : public Transport {
 public:
  /// `link.comm` belongs to this transport alone. It is left to MPI_Finalize: freeing it is
  /// collective, and others may be dead.
  explicit MpiTransport(MpiLink link);
  ~MpiTransport() override = default;

  void run(const OperationRun& run) override;
  /// The exchange of signatures alone.
  void greet(const OperationRun& run) override;
  std::unique_ptr<Transfer> start_transfer(const OperationRun& run) override;
  void give_up() noexcept override;
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;
  std::unique_ptr<Transport> split(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own) override;

 private:
  /// How an operation begins between two ranks.
  struct Greeting {
    Signature signature;
    std::int64_t count = 0;     ///< Of the part for the other, where counts are not agreed on.
    std::int64_t expected = 0;  ///< Of the part that the other gives.
  };

  void reduce_for_others(const OperationRun& run);
  void reduce_for_self(const OperationRun& run);
  void pull(const OperationRun& run);
  bool gets_result(const Operation& op, int rank) const;

  // Receives ranges of `bytes` of all parts of other ranks for this rank into scratch_, and gives
  // what combines them.
  std::vector<const std::byte*> receive_sources(const Operation& op, std::int64_t own_offset_bytes,
                                                std::int64_t bytes, MpiTransfers& transfers);

  const MpiLink link_;
  int rank_ = 0;
  int world_size_ = 1;
  std::vector<Greeting> greetings_;      // theirs
  std::vector<Greeting> own_greetings_;  // to each
  std::vector<std::byte>
      scratch_;  // members: messages in flight may touch them even after an error
  std::vector<std::byte> result_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_
