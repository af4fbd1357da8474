// What all transports for device memory have in common: ranks meet through a transport for host
// memory, which knows who is lost and who calls what.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_TRANSPORT_H_

#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "device/device.h"
#include "transport.h"

namespace muster::internal {

/// Operations on host memory, and those without data, are the host transport's. One on device
/// memory begins with its greeting, so that whoever is absent or calls something else is known by
/// name before the device is given work that would wait for him; while the device works, peers'
/// deaths, the deadline and abort() are looked after from the host.
class DeviceTransport : public Transport {
 public:
  DeviceTransport(std::unique_ptr<Transport> host, std::shared_ptr<Device> device, int rank,
                  int world_size);

  void run(const OperationRun& run) final;
  void greet(const OperationRun& run) final { host_->greet(run); }
  void check_peers(const OperationRun& run) final { host_->check_peers(run); }
  DeviceMark mark_issue() final { return device_->mark_caller(); }
  std::unique_ptr<Transfer> start_transfer(const OperationRun& run) final;
  void give_up(const std::exception_ptr& error) noexcept final;
  bool memory_in_flight() noexcept final { return host_->memory_in_flight(); }
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;
  std::unique_ptr<Transport> split(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own) final;
  NextGeneration regroup(const OperationRun& run, Regrouping how) final;

 protected:
  /// Collective, once, before the first operation of all ranks. May use the host transport.
  virtual void connect(const OperationRun& run) = 0;
  /// The operation has data in device memory, and all ranks have greeted each other.
  virtual void run_on_device(const OperationRun& run) = 0;
  /// The same kind of transport for other ranks.
  virtual std::unique_ptr<Transport> rewired(std::unique_ptr<Transport> host, int rank,
                                             int world_size) = 0;
  /// Throws when what the device works at for `run` will not end.
  virtual void check_device(const OperationRun&) {}

  /// Throws ConfigError when Device::reduce() cannot take the operation's sources or results.
  void check_sources(const Operation& op) const;

  /// After an error: ends what on the device waits for other ranks.
  virtual void abandon_device() noexcept {}

  /// Blocks until the device has come to `mark`. Throws PeerLost, Timeout and what check_device()
  /// throws.
  void wait_for(const DeviceMark& mark, const OperationRun& run);
  /// Blocks until the lanes have ended what they were given.
  void wait_for_lanes(const OperationRun& run);

  /// Collective. Every rank gets `own` of every rank; rank r's is at r * own.size().
  std::vector<std::byte> from_all(const OperationRun& run, const std::vector<std::byte>& own);

  Transport& host() { return *host_; }
  Device& device() { return *device_; }
  const std::shared_ptr<Device>& shared_device() const { return device_; }
  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

 private:
  void drain() noexcept;

  std::unique_ptr<Transport> host_;
  const std::shared_ptr<Device> device_;
  const int rank_;
  const int world_size_;
  bool connected_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_TRANSPORT_H_
