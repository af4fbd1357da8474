// Streams, events and memory of the CUDA runtime.
#include "cuda/cuda_device.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/check_cuda.h"
#include "cuda/combine.h"
#include "cuda/device_scope.h"
#include "muster/base/log.h"

namespace muster::internal {
namespace {

// What cudaMalloc hands out at least: smaller blocks share one, and a handle is for all of it.
constexpr std::int64_t kBlockBytes = 2 * 1024 * 1024;
constexpr std::size_t kLeastHostBytes = 64 * 1024;

/// On the current device.
class Event {
 public:
  explicit Event(cudaStream_t stream) {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
    const cudaError_t error = cudaEventRecord(event_, stream);
    if (error != cudaSuccess) cudaEventDestroy(event_);
    check_cuda(error, "cudaEventRecord");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

cudaEvent_t event_of(const DeviceMark& mark) {
  return static_cast<const Event*>(mark.get())->get();
}

// What LibTorch's allocator holds free is given back for a second try. Before LibTorch's own CUDA
// library is loaded it holds nothing.
cudaError_t malloc_on_device(void** memory, std::size_t bytes) {
  const cudaError_t error = cudaMalloc(memory, bytes);
  if (error != cudaErrorMemoryAllocation) return error;
  auto* const cache = c10::cuda::CUDACachingAllocator::get();
  if (cache == nullptr || !cache->initialized()) return error;
  cudaGetLastError();
  cache->emptyCache();
  return cudaMalloc(memory, bytes);
}

std::string unreachable(int index, cudaError_t error) {
  // Where the owner has freed memory that is open here still, and got the same place anew.
  const char* const advice =
      error == cudaErrorAlreadyMapped
          ? "destroy communicators for GPUs, and tensors of allocate_symmetric, on all ranks "
            "before any rank makes new ones"
          : "let CUDA tensors travel by nccl or host";
  return "CUDA: expected GPU " + std::to_string(index) +
         " to reach the memory of another process's GPU, found " + cudaGetErrorName(error) + " (" +
         cudaGetErrorString(error) + "); " + advice;
}

// For deleters, which cannot throw.
void free_on_device(int index, cudaError_t (*free)(void*), void* memory) noexcept {
  try {
    const DeviceScope scope(index);
    check_cuda(free(memory), "to free memory");
  } catch (const InternalError& error) {
    MUSTER_LOG(WARNING) << error.what();
  }
}

}  // namespace

/// Pinned memory takes longer to make than to fill, so it is kept, by sizes that are powers of two.
class CudaDevice::HostPool : public std::enable_shared_from_this<HostPool> {
 public:
  ~HostPool() {
    for (const auto& [bytes, memories] : free_) {
      for (void* memory : memories) cudaFreeHost(memory);
    }
  }

  std::shared_ptr<std::byte> take(std::int64_t bytes) {
    const std::size_t size =
        std::bit_ceil(std::max(static_cast<std::size_t>(bytes), kLeastHostBytes));
    void* memory = take_free(size);
    if (memory == nullptr) {
      check_cuda(cudaHostAlloc(&memory, size, cudaHostAllocPortable), "cudaHostAlloc");
    }
    return {static_cast<std::byte*>(memory), [pool = shared_from_this(), size](std::byte* used) {
              const std::lock_guard<std::mutex> lock(pool->mutex_);
              pool->free_[size].push_back(used);
            }};
  }

 private:
  void* take_free(std::size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<void*>& memories = free_[size];
    if (memories.empty()) return nullptr;
    void* memory = memories.back();
    memories.pop_back();
    return memory;
  }

  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
};

CudaDevice::CudaDevice(int index) : index_(index), host_pool_(std::make_shared<HostPool>()) {
  const DeviceScope scope(index_);
  int least = 0;
  int greatest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
             "cudaDeviceGetStreamPriorityRange");
  for (cudaStream_t& stream : streams_) {
    check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest),
               "cudaStreamCreate");
  }
  check_cuda(cudaStreamCreateWithFlags(&zeroing_, cudaStreamNonBlocking), "cudaStreamCreate");
}

CudaDevice::~CudaDevice() {
  for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
  cudaStreamDestroy(zeroing_);
}

DeviceMark CudaDevice::mark_caller() {
  const DeviceScope scope(index_);
  return std::make_shared<Event>(
      c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(index_)).stream());
}

DeviceMark CudaDevice::mark(Lane lane) {
  const DeviceScope scope(index_);
  return std::make_shared<Event>(stream(lane));
}

void CudaDevice::follow(Lane lane, const DeviceMark& mark) {
  const DeviceScope scope(index_);
  check_cuda(cudaStreamWaitEvent(stream(lane), event_of(mark), 0), "cudaStreamWaitEvent");
}

bool CudaDevice::reached(const DeviceMark& mark) {
  const cudaError_t state = cudaEventQuery(event_of(mark));
  if (state == cudaSuccess) return true;
  if (state != cudaErrorNotReady) check_cuda(state, "the work on the GPU");
  cudaGetLastError();  // a launch must not find it and take it for its own
  return false;
}

void CudaDevice::copy(Lane lane, std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes == 0) return;
  const DeviceScope scope(index_);
  check_cuda(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream(lane)),
      "cudaMemcpyAsync");
}

void CudaDevice::reduce(const ReducePlan& plan, std::span<const std::byte* const> sources,
                        std::span<std::byte* const> destinations, std::int64_t numel) {
  if (destinations.empty() || numel == 0) return;
  const DeviceScope scope(index_);
  combine_on_device(plan, sources, destinations, numel, stream(Lane::kFirst));
}

std::shared_ptr<std::byte> CudaDevice::allocate(std::int64_t bytes) {
  const DeviceScope scope(index_);
  const auto size = static_cast<std::size_t>((bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes);
  void* memory = nullptr;
  check_cuda(malloc_on_device(&memory, size), "cudaMalloc");
  std::shared_ptr<std::byte> owner(
      static_cast<std::byte*>(memory),
      [index = index_](std::byte* used) { free_on_device(index, cudaFree, used); });
  check_cuda(cudaMemsetAsync(memory, 0, size, zeroing_), "cudaMemset");
  check_cuda(cudaStreamSynchronize(zeroing_), "cudaMemset");
  return owner;
}

std::shared_ptr<std::byte> CudaDevice::host_memory(std::int64_t bytes) {
  const DeviceScope scope(index_);
  return host_pool_->take(bytes);
}

// Without it copies are slower and nothing else, so that it is no reason to fail.
std::shared_ptr<void> CudaDevice::pin(std::byte* memory, std::int64_t bytes) {
  const DeviceScope scope(index_);
  const cudaError_t error =
      cudaHostRegister(memory, static_cast<std::size_t>(bytes), cudaHostRegisterPortable);
  if (error == cudaSuccess) return {memory, [](std::byte* pinned) { cudaHostUnregister(pinned); }};
  cudaGetLastError();
  MUSTER_LOG(WARNING) << "CUDA: expected to pin " << bytes << " bytes of shared memory, found "
                      << cudaGetErrorName(error)
                      << "; copies to and from the GPU will be slow: look at ulimit -l";
  return nullptr;
}

MemoryHandle CudaDevice::handle(std::byte* memory) {
  const DeviceScope scope(index_);
  cudaIpcMemHandle_t own;
  static_assert(sizeof(own) == sizeof(MemoryHandle));
  check_cuda(cudaIpcGetMemHandle(&own, memory), "cudaIpcGetMemHandle");
  MemoryHandle handle;
  std::memcpy(handle.bytes, &own, sizeof(own));
  return handle;
}

std::shared_ptr<std::byte> CudaDevice::open(const MemoryHandle& handle) {
  const DeviceScope scope(index_);
  cudaIpcMemHandle_t theirs;
  std::memcpy(&theirs, handle.bytes, sizeof(theirs));
  void* memory = nullptr;
  const cudaError_t error = cudaIpcOpenMemHandle(&memory, theirs, cudaIpcMemLazyEnablePeerAccess);
  if (error != cudaSuccess) {
    cudaGetLastError();
    throw ConfigError(unreachable(index_, error));
  }
  return {static_cast<std::byte*>(memory), [index = index_](std::byte* opened) {
            free_on_device(index, cudaIpcCloseMemHandle, opened);
          }};
}

}  // namespace muster::internal
