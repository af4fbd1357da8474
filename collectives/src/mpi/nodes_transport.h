// Operations between ranks of several nodes, some of which have several: shared memory within a
// node, MPI messages between them.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_NODES_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_MPI_NODES_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "mpi/mpi_transfers.h"
#include "mpi/mpi_transport.h"
#include "node_reduction.h"
#include "rendezvous.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// Reductions go by nodes: the owner of a slice is the same rank as in MpiTransport, but of every
/// other node it receives that node's partials alone, which one rank there has combined from shared
/// memory, and the result travels to each node once. The bits are those of MpiTransport.
///
/// What only moves data goes by MpiTransport, within nodes too, and so do meetings and transfers
/// between two ranks. Each operation begins with MpiTransport's exchange of signatures between all
/// ranks, so that whoever is absent or calls something else is known by name before data move.
class NodesTransport : public Transport {
 public:
  /// `group` are this node's ranks in ascending order, this process having joined in its slot.
  /// `link` as for MpiTransport. At least one node has several ranks.
  NodesTransport(MpiLink link, NodeLayout layout, NodeGroup group, int rank);
  ~NodesTransport() override;

  void run(const OperationRun& run) override;
  void greet(const OperationRun& run) override { flat_.greet(run); }
  void check_peers(const OperationRun& run) override { flat_.check_peers(run); }
  std::unique_ptr<Transfer> start_transfer(const OperationRun& run) override {
    return flat_.start_transfer(run);
  }
  /// Reaches the node's ranks through its memory, and all others by MPI.
  void give_up(const std::exception_ptr& error) noexcept override;
  bool memory_in_flight() noexcept override { return flat_.memory_in_flight(); }
  /// In the node's memory.
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;
  std::vector<int> ranks_sharing_memory() const override { return layout_.ranks_of(node_); }
  /// What lies on the node is mapped; what does not comes by MPI.
  WindowMemory open_window(const OperationRun& run, std::int64_t bytes) override;
  /// The parts go by shared memory, by nodes or by MPI alone, as their ranks lie.
  std::unique_ptr<Transport> split(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own) override;
  /// As MpiTransport's.
  NextGeneration regroup(const OperationRun& run, Regrouping how) override;

 private:
  class Reduction;

  std::uint64_t reserve_logs(const OperationRun& run, std::size_t groups);
  NodeGroup local_group(const std::vector<int>& part, std::uint64_t log_offset) const;
  /// Of the ranks that `part` lists, which have `link`.
  std::unique_ptr<Transport> transport_of(const std::vector<int>& part, MpiLink link,
                                          std::uint64_t log_offset) const;

  const MpiLink link_;
  const NodeLayout layout_;
  const int rank_;
  const int node_;
  const int local_rank_;
  MpiTransport flat_;
  std::shared_ptr<SymmetricMemory> memory_;
  Rendezvous rendezvous_;
  std::vector<std::byte*> staging_;       // by local rank: two halves, used in turn
  std::byte* results_;                    // of the node: two halves, used in turn
  const std::uint64_t log_of_survivors_;  // made with the others' help, while they live
  // Members: messages in flight may touch them even after an error.
  std::vector<std::byte> received_;  // partials of other nodes
  std::vector<std::byte> combined_;  // partials for other nodes, then the own slice's result
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_NODES_TRANSPORT_H_
