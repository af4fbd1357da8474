// A GPU as transports see it.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_CUDA_DEVICE_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_CUDA_DEVICE_H_

#include <cuda_runtime_api.h>

#include <array>
#include <memory>

#include "device/device.h"

namespace muster::internal {

/// Lanes are streams of their own, of high priority. A mark is an event; the caller's is recorded
/// on LibTorch's current stream. Memory is cudaMalloc's, in blocks that hold nothing else, so that
/// other processes are shown nothing else.
class CudaDevice : public Device {
 public:
  /// Throws InternalError when there is no GPU `index`.
  explicit CudaDevice(int index);
  ~CudaDevice() override;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  int index() const { return index_; }
  cudaStream_t stream(Lane lane) const { return streams_[static_cast<std::size_t>(lane)]; }

  DeviceMark mark_caller() override;
  DeviceMark mark(Lane lane) override;
  void follow(Lane lane, const DeviceMark& mark) override;
  bool reached(const DeviceMark& mark) override;
  void copy(Lane lane, std::byte* to, const std::byte* from, std::int64_t bytes) override;
  void reduce(const ReducePlan& plan, std::span<const std::byte* const> sources,
              std::span<std::byte* const> destinations, std::int64_t numel) override;
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override;
  std::shared_ptr<std::byte> host_memory(std::int64_t bytes) override;
  std::shared_ptr<void> pin(std::byte* memory, std::int64_t bytes) override;
  MemoryHandle handle(std::byte* memory) override;
  std::shared_ptr<std::byte> open(const MemoryHandle& handle) override;

 private:
  class HostPool;

  const int index_;
  std::array<cudaStream_t, kLanesOfDevice> streams_ = {};
  cudaStream_t zeroing_ = nullptr;
  std::shared_ptr<HostPool> host_pool_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_CUDA_DEVICE_H_
