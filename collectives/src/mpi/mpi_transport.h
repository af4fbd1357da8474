// Operations by MPI messages, within and between nodes.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_

#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "mpi/mpi_regroup.h"
#include "mpi/mpi_transfers.h"
#include "transport.h"

namespace muster::internal {

/// The owner of a slice receives it from every rank, combines in plan order and sends the result to
/// every rank: the bytes of a ring, and bits that depend on nothing but the plan. Each operation
/// begins with an exchange of signatures.
class MpiTransport : public Transport {
 public:
  /// `link` is this transport's alone.
  explicit MpiTransport(MpiLink link);
  /// Lets other ranks know that this one has left, unless it gave up.
  ~MpiTransport() override;

  void run(const OperationRun& run) override;
  /// The exchange of signatures alone.
  void greet(const OperationRun& run) override;
  void check_peers(const OperationRun& run) override { peers_.check_nobody_fell(run); }
  std::unique_ptr<Transfer> start_transfer(const OperationRun& run) override;
  void give_up(const std::exception_ptr& error) noexcept override { peers_.give_up(error); }
  bool memory_in_flight() noexcept override { return peers_.memory_in_flight(); }
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;
  WindowMemory open_window(const OperationRun& run, std::int64_t bytes) override;
  std::unique_ptr<Transport> split(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own) override;
  /// Needs ULFM, and that every rank that lives calls it.
  NextGeneration regroup(const OperationRun& run, Regrouping how) override;

  // For transports that have more than messages.

  /// And how one ends.
  void end(const OperationRun& run) { peers_.end(run); }
  MpiPeers& peers() { return peers_; }
  /// What the destructor does first. True when MPI may still touch what messages were in.
  bool leave() noexcept;
  /// The MPI side of split(), after a greet() and without a message more: nothing for a rank that
  /// is in no part.
  std::optional<MpiLink> make_link(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own);
  /// The MPI side of open_window(), after a greet(): `own` is read by others.
  std::unique_ptr<RemoteReader> open_reader(const OperationRun& run,
                                            std::shared_ptr<const std::byte> own);
  /// The MPI side of regroup().
  MpiRegroup::Remnant regroup_link(const OperationRun& run, Regrouping how) {
    return regroup_.agree(run, how);
  }

 private:
  void reduce_for_others(const OperationRun& run);
  void reduce_for_self(const OperationRun& run);
  void pull(const OperationRun& run);

  // Receives ranges of `bytes` of all parts of other ranks for this rank into scratch_, and gives
  // what combines them.
  std::vector<const std::byte*> receive_sources(const Operation& op, std::int64_t own_offset_bytes,
                                                std::int64_t bytes, MpiTransfers& transfers);

  const MpiLink link_;
  const int rank_;
  const int world_size_;
  std::shared_ptr<const Mailbox> next_mailbox_;  // of the next link: greetings tell its number
  MpiPeers peers_;
  MpiRegroup regroup_;
  // Messages in flight may touch these even after an error.
  std::vector<Greeting> greetings_;      // theirs
  std::vector<Greeting> own_greetings_;  // to each
  std::vector<std::byte> scratch_;
  std::vector<std::byte> result_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_TRANSPORT_H_
