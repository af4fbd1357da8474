// Operations between ranks of one node, through memory that all of them map.
#ifndef MUSTER_COLLECTIVES_SRC_SHM_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_SHM_TRANSPORT_H_

#include <memory>
#include <vector>

#include "regroup.h"
#include "rendezvous.h"
#include "shm_channels.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// Three ways, picked alike by all ranks:
/// - *small*: every rank copies its parts into shared memory before the first meeting, and reads
///   everybody's after it.
/// - *direct*: all tensors are symmetric. The owner of a slice reads it from every rank, combines,
///   and writes it to every rank that gets it: no copy.
/// - *staged*: the same on chunks that are copied through a shared staging area.
class ShmTransport : public Transport {
 public:
  /// This process has joined the group's node memory in the slot of `rank`.
  ShmTransport(NodeGroup group, int rank);
  ~ShmTransport() override { rendezvous_.leave(); }

  void run(const OperationRun& run) override;
  void greet(const OperationRun& run) override;
  void check_peers(const OperationRun& run) override { rendezvous_.check_nobody_fell(run); }
  std::unique_ptr<Transfer> start_transfer(const OperationRun& run) override;
  void give_up(const std::exception_ptr& error) noexcept override {
    rendezvous_.give_up(reason_of(error));
  }
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;
  std::shared_ptr<std::byte> allocate_shared(std::int64_t bytes) override;
  std::vector<int> ranks_sharing_memory() const override;
  WindowMemory open_window(const OperationRun& run, std::int64_t bytes) override;
  std::unique_ptr<Transport> split(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own) override;
  NextGeneration regroup(const OperationRun& run, Regrouping how) override;

 private:
  // Elements [begin, begin + numel) of all parts; `part(r, p)` is where rank r's part p has them.
  template <typename PartAt>
  struct Range {
    std::int64_t begin;
    std::int64_t numel;
    PartAt part;
  };

  // This rank's slice of the range, combined, to `output(r)` of every rank r that gets it.
  template <typename PartAt, typename OutputAt>
  void reduce_for_others(const Operation& op, const Range<PartAt>& range, const OutputAt& output);
  // The whole range, combined, to this rank's output.
  template <typename PartAt>
  void reduce_for_self(const Operation& op, const Range<PartAt>& range);
  template <typename PartAt>
  void pull(const Operation& op, const Range<PartAt>& range);
  template <typename PartAt>
  void copy_in(const Operation& op, const Range<PartAt>& range);

  std::uint64_t reserve_logs(const OperationRun& run, std::size_t groups);
  void announce(const Operation& op);
  std::int64_t check_counts(const OperationRun& run);
  bool all_symmetric(const Operation& op);
  std::byte* at_location(const OperationRun& run, int rank, std::uint64_t location,
                         std::int64_t bytes);
  std::byte* part_at(const OperationRun& run, int rank, int part, std::int64_t numel);
  std::byte* output_at(const OperationRun& run, int rank);
  void run_small(const OperationRun& run);
  void run_direct(const OperationRun& run);
  void run_staged(const OperationRun& run, std::int64_t largest_part);

  const int rank_;
  const int world_size_;
  std::shared_ptr<SymmetricMemory> memory_;
  Rendezvous rendezvous_;
  Regroup regroup_;
  ShmChannels channels_;
  std::vector<std::byte*> staging_;  // by rank: two halves, used in turn
  std::vector<std::byte*> small_;    // by rank: two halves, used in turn
  std::uint64_t small_runs_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SHM_TRANSPORT_H_
