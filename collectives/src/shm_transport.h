// Operations between ranks of one node, through memory that all of them map.
#ifndef MUSTER_COLLECTIVES_SRC_SHM_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_SHM_TRANSPORT_H_

#include <memory>
#include <vector>

#include "rendezvous.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// Three ways, picked alike by all ranks:
/// - *small*: every rank copies its parts into shared memory before the first meeting, and reads
/// everybody's after it.
/// - *direct*: all tensors are symmetric. The owner of a slice reads it from every rank, combines,
/// and writes it to
///   every rank: no copy.
/// - *staged*: the same on chunks that are copied through a shared staging area.
class ShmTransport : public Transport {
 public:
  /// This process has joined `node_memory` as `rank`.
  ShmTransport(std::shared_ptr<NodeMemory> node_memory, int rank, int world_size);

  void run(const OperationRun& run) override;
  void give_up() noexcept override { rendezvous_.give_up(); }
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;

 private:
  // `source(r, j)` gives the address of a range of rank r's part j. Results of the range go to this
  // rank's output at `begin`; of a chunk or whole tensor in symmetric memory, to all ranks' part 0.
  template <typename Part>
  void reduce_for_all(const Operation& op, std::int64_t numel, const Part& part);
  template <typename Part>
  void reduce_for_self(const Operation& op, std::int64_t begin, std::int64_t numel,
                       const Part& part);
  template <typename Part>
  void collect(const Operation& op, std::int64_t begin, std::int64_t numel, const Part& part);
  template <typename Part>
  void copy_in(const Operation& op, std::int64_t begin, std::int64_t numel, const Part& part);

  void announce(const Operation& op);
  bool all_symmetric(const Operation& op);
  std::byte* part_at(const OperationRun& run, int rank, int part);
  void run_small(const OperationRun& run);
  void run_direct(const OperationRun& run);
  void run_staged(const OperationRun& run);

  int rank_;
  int world_size_;
  std::shared_ptr<SymmetricMemory> memory_;
  Rendezvous rendezvous_;
  std::vector<std::byte*> staging_;  // by rank: two halves, used in turn
  std::vector<std::byte*> small_;    // by rank: two halves, used in turn
  std::uint64_t small_runs_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SHM_TRANSPORT_H_
