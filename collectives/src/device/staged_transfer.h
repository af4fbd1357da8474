// Sends and receives of device memory, by way of the host.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_STAGED_TRANSFER_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_STAGED_TRANSFER_H_

#include <cstdint>
#include <memory>

#include "device/device.h"
#include "transport.h"

namespace muster::internal {

/// The tensor as a whole is copied to the host, travels as any other, and is copied to the other
/// device. Transfers in all directions may be under way together.
class StagedTransfer : public Transfer {
 public:
  /// `run` outlives this.
  StagedTransfer(Transport& host, Device& device, const OperationRun& run);
  ~StagedTransfer() override;

  Turn advance(const OperationRun& run) override;
  void check(const OperationRun& run) override;

 private:
  enum class Stage { kComingIn, kTravelling, kGoingOut, kEnded };

  bool sends() const { return on_host_.signature.kind == OperationKind::kSend; }
  Turn travel();

  Transport& host_;
  Device& device_;
  Operation on_host_;
  OperationRun host_run_;
  std::shared_ptr<std::byte> memory_;
  std::byte* destination_ = nullptr;  // of a receive
  std::int64_t bytes_;
  Stage stage_ = Stage::kComingIn;
  DeviceMark copied_;
  std::unique_ptr<Transfer> transfer_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_STAGED_TRANSFER_H_
