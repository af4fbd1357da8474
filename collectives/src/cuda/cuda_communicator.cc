// Finding out what the GPUs can do, choosing, and joining.
#include "muster/collectives/cuda_communicator.h"

#include <ATen/ops/empty.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "cuda/cuda_device.h"
#include "cuda/nccl_transport.h"
#include "device/device_choice.h"
#include "device/direct_transport.h"
#include "device/staged_transport.h"
#include "muster/base/error.h"
#include "muster/base/hash.h"
#include "muster/base/log.h"
#include "queued_communicator.h"

namespace muster {
namespace internal {
namespace {

constexpr std::int64_t kTrialBytes = 4096;

template <typename T>
std::vector<T> from_all_ranks(Communicator& host, const T& own) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(T));
  at::Tensor input = at::empty({kBytes}, at::kByte);
  std::memcpy(input.mutable_data_ptr(), &own, sizeof(T));
  at::Tensor output = at::empty({kBytes * host.world_size()}, at::kByte);
  host.all_gather(output, input).wait();
  std::vector<T> all(static_cast<std::size_t>(host.world_size()));
  std::memcpy(all.data(), output.const_data_ptr(), sizeof(T) * all.size());
  return all;
}

std::uint64_t this_node() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(file, boot);
  return hash64_bytes(boot.data(), boot.size());
}

RankDevice find_device(int number) {
  RankDevice own;
  own.number = number;
  own.node = this_node();
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
  own.devices = devices;
  cudaDeviceProp properties;
  if (number < 0 || number >= devices ||
      cudaGetDeviceProperties(&properties, number) != cudaSuccess) {
    return own;
  }
  static_assert(sizeof(properties.uuid) == sizeof(own.id));
  std::memcpy(own.id.data(), &properties.uuid, sizeof(own.id));
  return own;
}

/// A rank's memory for the trial; without a handle where it cannot be given away.
struct TrialHandle {
  std::int32_t valid = 0;
  MemoryHandle handle;
};

TrialHandle trial_handle(CudaDevice& device, std::byte* memory) {
  try {
    return {1, device.handle(memory)};
  } catch (const InternalError& error) {
    MUSTER_LOG(INFO) << "memory of this GPU cannot be shown to other processes: " << error.what();
    return {};
  }
}

bool opens(CudaDevice& device, const TrialHandle& theirs) {
  if (theirs.valid == 0) return false;
  try {
    return device.open(theirs.handle) != nullptr;
  } catch (const ConfigError& error) {
    MUSTER_LOG(INFO) << error.what();
    return false;
  }
}

// Whether GPUs reach each other is hard to tell and easy to try: every rank shows memory and opens
// that of every other. The last exchange keeps the memory until all have.
std::vector<RankDevice> try_to_reach(Communicator& host, CudaDevice& device,
                                     std::vector<RankDevice> ranks) {
  const auto own = static_cast<std::size_t>(host.rank());
  const std::shared_ptr<std::byte> memory = device.allocate(kTrialBytes);
  const auto handles = from_all_ranks(host, trial_handle(device, memory.get()));
  RankDevice found = ranks[own];
  found.reaches_all = handles[own].valid;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (r == own) continue;
    if (ranks[r].node != found.node || !opens(device, handles[r])) found.reaches_all = 0;
  }
  return from_all_ranks(host, found);
}

QueuedCommunicator::Rewiring wiring(const std::string& transport,
                                    std::shared_ptr<CudaDevice> device, Communicator& host,
                                    const CudaOptions& options) {
  const int rank = host.rank();
  const int world_size = host.world_size();
  const auto reductions = options.fast ? NcclReductions::kFast : NcclReductions::kPlan;
  return [=](std::unique_ptr<Transport> wires, const OperationRun&) -> std::unique_ptr<Transport> {
    if (transport == "nccl") {
      return std::make_unique<NcclTransport>(std::move(wires), device, rank, world_size,
                                             reductions);
    }
    if (transport == "cuda_ipc") {
      return std::make_unique<DirectTransport>(std::move(wires), device, rank, world_size);
    }
    return std::make_unique<StagedTransport>(std::move(wires), device, rank, world_size);
  };
}

}  // namespace
}  // namespace internal

std::unique_ptr<Communicator> make_cuda_communicator(Communicator& host,
                                                     const CudaOptions& options) {
  auto* const queued = dynamic_cast<internal::QueuedCommunicator*>(&host);
  if (queued == nullptr) {
    throw ConfigError(
        "make_cuda_communicator: expected a communicator of a World's, found another; pass "
        "World::communicator(), or what its split() made");
  }
  auto ranks = internal::from_all_ranks(host, internal::find_device(options.device));
  internal::choose_device_transport(ranks, "host");  // throws alike on all ranks
  const auto device = std::make_shared<internal::CudaDevice>(options.device);
  ranks = internal::try_to_reach(host, *device, std::move(ranks));
  const auto choice = internal::choose_device_transport(ranks, options.transport);
  auto communicator =
      queued->on_device(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(options.device)),
                        options.timeout.value_or(queued->timeout()),
                        internal::wiring(choice.transport, device, host, options));
  communicator->barrier().wait();  // connects
  if (host.rank() == 0) {
    MUSTER_LOG(INFO) << "CUDA tensors travel by " << choice.transport << ": " << choice.reason;
  }
  return communicator;
}

}  // namespace muster
