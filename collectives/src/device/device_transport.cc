// Greeting, waiting for the device, and passing on to the host transport.
#include "device/device_transport.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "device/combine_program.h"
#include "device/staged_transfer.h"
#include "muster/base/error.h"
#include "muster/base/log.h"

namespace muster::internal {
namespace {

// About a millisecond of looks at the device, while its end is worth more than a core.
constexpr int kSpinsWhileAwaited = 1000;
constexpr auto kDeviceNap = std::chrono::microseconds(20);
// How late a death is noticed.
constexpr auto kBetweenDeviceChecks = std::chrono::milliseconds(2);
// For what was given to the device before an error: it waits for no peer any more.
constexpr auto kDrainLimit = std::chrono::seconds(5);

}  // namespace

DeviceTransport::DeviceTransport(std::unique_ptr<Transport> host, std::shared_ptr<Device> device,
                                 int rank, int world_size)
    : host_(std::move(host)), device_(std::move(device)), rank_(rank), world_size_(world_size) {}

void DeviceTransport::run(const OperationRun& run) {
  if (!connected_) {
    connect(run);
    connected_ = true;
  }
  if (!run.operation().is_on_device()) return host_->run(run);
  host_->greet(run);
  run_on_device(run);
}

std::unique_ptr<Transfer> DeviceTransport::start_transfer(const OperationRun& run) {
  if (!run.operation().is_on_device()) return host_->start_transfer(run);
  return std::make_unique<StagedTransfer>(*host_, *device_, run);
}

// The others are told first: they may wait for this rank.
void DeviceTransport::give_up(const std::exception_ptr& error) noexcept {
  host_->give_up(error);
  abandon_device();
  drain();
}

void DeviceTransport::drain() noexcept {
  const auto limit = std::chrono::steady_clock::now() + kDrainLimit;
  try {
    for (const Lane lane : {Lane::kFirst, Lane::kSecond}) {
      const DeviceMark end = device_->mark(lane);
      while (!device_->reached(end)) {
        if (std::chrono::steady_clock::now() > limit) {
          MUSTER_LOG(WARNING) << "the GPU has not ended a failed operation after "
                              << kDrainLimit.count() << " s; its tensors may yet be written";
          return;
        }
        std::this_thread::sleep_for(kDeviceNap);
      }
    }
  } catch (const std::exception& error) {
    MUSTER_LOG(WARNING) << "after a failed operation: " << error.what();
  }
}

std::shared_ptr<std::byte> DeviceTransport::allocate_symmetric(std::int64_t bytes) {
  return device_->allocate(bytes);
}

std::unique_ptr<Transport> DeviceTransport::split(const OperationRun& run,
                                                  const std::vector<std::vector<int>>& parts,
                                                  int own) {
  std::unique_ptr<Transport> host = host_->split(run, parts, own);
  if (own < 0) return nullptr;
  const std::vector<int>& part = parts[static_cast<std::size_t>(own)];
  const auto place = std::find(part.begin(), part.end(), rank_) - part.begin();
  return rewired(std::move(host), static_cast<int>(place), static_cast<int>(part.size()));
}

// A new process comes to the world's communicator, and not to one that was made of it.
NextGeneration DeviceTransport::regroup(const OperationRun& run, Regrouping how) {
  if (how == Regrouping::kReplace) {
    throw ConfigError(run.description() +
                      ": expected a communicator of the world's, found one for GPUs that was made "
                      "of it; let the world's replace() the lost rank, and make another of the "
                      "result");
  }
  NextGeneration next = host_->regroup(run, how);
  next.transport =
      rewired(std::move(next.transport), next.rank, static_cast<int>(next.ranks.size()));
  return next;
}

void DeviceTransport::check_sources(const Operation& op) const {
  if (op.plan.sources <= kMaxDeviceSources && world_size_ <= kMaxDeviceSources) return;
  throw ConfigError(std::string(operation_name(op.signature.kind)) + ": expected at most " +
                    std::to_string(kMaxDeviceSources) +
                    " ranks, and subtrees over all of them, found " + std::to_string(world_size_) +
                    " and " + std::to_string(op.plan.sources) +
                    "; choose a number of logical ranks that is a multiple of the world size, or "
                    "the transport 'host'");
}

void DeviceTransport::wait_for(const DeviceMark& mark, const OperationRun& run) {
  for (int i = 0; i < kSpinsWhileAwaited && run.awaited(); ++i) {
    if (device_->reached(mark)) return;
  }
  auto next_check = std::chrono::steady_clock::now();
  while (!device_->reached(mark)) {
    run.check_wanted();
    if (run.overdue()) {
      throw Timeout(run.description() + ": expected the GPUs to end it within " +
                    std::to_string(run.timeout().count()) +
                    " ms, found all ranks there and this rank's GPU still at work; " +
                    kRestartAdvice + ", or allow more time");
    }
    if (std::chrono::steady_clock::now() >= next_check) {
      host_->check_peers(run);
      check_device(run);
      next_check = std::chrono::steady_clock::now() + kBetweenDeviceChecks;
    }
    std::this_thread::sleep_for(kDeviceNap);
  }
}

void DeviceTransport::wait_for_lanes(const OperationRun& run) {
  const DeviceMark first = device_->mark(Lane::kFirst);
  const DeviceMark second = device_->mark(Lane::kSecond);
  wait_for(first, run);
  wait_for(second, run);
}

std::vector<std::byte> DeviceTransport::from_all(const OperationRun& run,
                                                 const std::vector<std::byte>& own) {
  const auto numel = static_cast<std::int64_t>(own.size());
  std::vector<std::byte> all(own.size() * static_cast<std::size_t>(world_size_));
  Operation gather;
  gather.signature.kind = OperationKind::kAllGather;
  gather.signature.numel = numel;
  std::strncpy(gather.signature.dtype_name, "bytes", sizeof(gather.signature.dtype_name) - 1);
  gather.parts = {{own.data(), numel}};
  gather.largest_part = numel;
  for (int r = 0; r < world_size_; ++r) {
    gather.pulls.push_back({r, 0, numel, all.data() + r * numel});
    if (r != rank_) gather.pushes.push_back({r, 0});
  }
  host_->run(run.step(gather));
  return all;
}

}  // namespace muster::internal
