// Operations on device memory by way of the host, where nothing better serves.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_STAGED_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_STAGED_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device_transport.h"
#include "device/staging_plan.h"

namespace muster::internal {

/// Piece by piece through a staging area of two halves in pinned memory: while the host transport
/// carries piece k, piece k + 1 is copied in and piece k - 1 out. The area is the host transport's
/// symmetric memory: ranks that share memory combine straight in it.
class StagedTransport : public DeviceTransport {
 public:
  /// A rank's half. Large enough that copies run at the bus's speed.
  static constexpr std::int64_t kHalfBytes = 8 * 1024 * 1024;

  StagedTransport(std::unique_ptr<Transport> host, std::shared_ptr<Device> device, int rank,
                  int world_size, std::int64_t half_bytes = kHalfBytes);
  ~StagedTransport() override;

 protected:
  void connect(const OperationRun&) override {}
  void run_on_device(const OperationRun& run) override;
  std::unique_ptr<Transport> rewired(std::unique_ptr<Transport> host, int rank,
                                     int world_size) override;

 private:
  std::int64_t largest_part_of_all(const OperationRun& run);
  void copy_all(Lane lane, const std::vector<StagedCopy>& copies);
  std::byte* half(std::int64_t k) { return area_.get() + k % 2 * half_bytes_; }

  const std::int64_t half_bytes_;
  std::shared_ptr<std::byte> area_;
  std::shared_ptr<void> pinned_;  // goes before the area
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_STAGED_TRANSPORT_H_
