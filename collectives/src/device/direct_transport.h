// Operations on device memory that every rank's device reaches.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_DIRECT_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_DIRECT_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device_transport.h"
#include "device/peer_buffers.h"
#include "device/staging_plan.h"

namespace muster::internal {

/// The algorithm of shared memory, with the device in the CPU's place. Where all tensors are
/// symmetric, the owner of a slice reads it from every rank, combines, and writes it to every rank
/// that gets it; else the same on pieces that are copied through exported staging areas.
///
/// Ranks wait for each other on the host alone, with their own devices' work done: nothing on a
/// device ever waits for another rank, so that a rank's death can hang no device, and several ranks
/// on one device do not take turns at spinning.
class DirectTransport : public DeviceTransport {
 public:
  /// Of a rank's half of its staging area.
  static constexpr std::int64_t kHalfBytes = 16 * 1024 * 1024;

  DirectTransport(std::unique_ptr<Transport> host, std::shared_ptr<Device> device, int rank,
                  int world_size, std::int64_t half_bytes = kHalfBytes);

  /// In a buffer that other ranks reach.
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;

 protected:
  void connect(const OperationRun& run) override;
  void run_on_device(const OperationRun& run) override;
  std::unique_ptr<Transport> rewired(std::unique_ptr<Transport> host, int rank,
                                     int world_size) override;

 private:
  /// What a rank tells of its tensors.
  struct Tensors {
    std::vector<PeerPlace> blocks;
    PeerPlace output;
    std::int64_t reachable = 0;        // 1: all of them are
    std::vector<std::int64_t> counts;  // of parts, where the ranks do not know each other's
  };

  Tensors own_tensors(const Operation& op) const;
  std::vector<Tensors> exchange(const OperationRun& run);
  /// As PeerBuffers::address(), but throws PeerLost where `rank` is lost.
  std::byte* address(const OperationRun& run, int rank, const PeerPlace& place);
  const std::byte* part_at(const OperationRun& run, int rank, int part);
  std::byte* output_at(const OperationRun& run, int rank);
  void combine_for_others(const Operation& op, std::int64_t numel, const auto& part_of,
                          const auto& output_of);
  void run_direct(const OperationRun& run);
  void run_staged(const OperationRun& run, const StagingPlan& plan);
  void work_on(const Operation& op, const StagingPlan& plan, std::int64_t k);
  std::byte* area(int rank, std::int64_t k) {
    return areas_[static_cast<std::size_t>(rank)] + k % 2 * half_bytes_;
  }
  void copy_all(const std::vector<StagedCopy>& copies);

  const std::int64_t half_bytes_;
  std::shared_ptr<PeerBuffers> buffers_;  // shared with the tensors in it
  std::shared_ptr<std::byte> own_area_;
  std::vector<std::byte*> areas_;  // by rank
  std::vector<Tensors> tensors_;   // of the operation that runs, by rank
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_DIRECT_TRANSPORT_H_
