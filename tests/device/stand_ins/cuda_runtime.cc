// In the place of CUDA's runtime, on machines without a GPU: as much of it as collectives/src/cuda/
// and LibTorch's streams call, on GPUs whose memory is the host's. To be preloaded. What is given
// to a stream is done at once; a process that was forked from one that has used it, an event on
// another GPU's stream and memory that was not handed out are errors, as they are CUDA's.
// MUSTER_STAND_IN_GPUS says how many GPUs there are; the only kernel is that of cuda/combine.cu.
#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "device/combine_element.h"

namespace {

using muster::internal::BFloat16Codec;
using muster::internal::combine_elements;
using muster::internal::CombineProgram;
using muster::internal::Float16Codec;
using muster::internal::kMaxDeviceSources;
using muster::internal::PlainCodec;

constexpr std::size_t kPageBytes = 4096;

struct Block {
  int fd;
  std::size_t bytes;
};

/// Another process's block.
struct Opened {
  std::byte* memory;
  std::size_t bytes;
  int times;
};

struct Handle {
  std::int64_t pid;
  std::int64_t fd;
  std::int64_t bytes;
};
static_assert(sizeof(Handle) <= sizeof(cudaIpcMemHandle_t));

struct Stream {
  int device;
};

struct Event {
  int device;
  int looks = 0;  // the first one finds it not yet there
};

std::mutex mutex;  // of what follows
pid_t user = 0;
std::map<std::byte*, Block> blocks;
std::map<std::pair<std::int64_t, std::int64_t>, Opened> opened;  // by pid and descriptor

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaStream_t launch_stream = nullptr;
thread_local dim3 launch_grid;
thread_local dim3 launch_block;

// Filled before main(), in an order that nobody knows.
std::map<const void*, std::string>& kernels() {
  static std::map<const void*, std::string> all;
  return all;
}

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

int gpus() {
  const char* number = std::getenv("MUSTER_STAND_IN_GPUS");
  return number == nullptr ? 1 : std::atoi(number);
}

// What every call that needs a GPU begins with.
cudaError_t begin() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (user == 0) user = getpid();
  if (user != getpid()) return cudaErrorInitializationError;
  return gpus() > 0 ? cudaSuccess : cudaErrorNoDevice;
}

template <typename Body>
cudaError_t on_gpu(const Body& body) {
  const cudaError_t error = begin();
  return noted(error == cudaSuccess ? body() : error);
}

template <typename Body>
cudaError_t locked(const Body& body) {
  return on_gpu([&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return body();
  });
}

cudaError_t at_once() {
  return on_gpu([] { return cudaSuccess; });
}

Stream* stream_of(cudaStream_t stream) { return reinterpret_cast<Stream*>(stream); }
Event* event_of(cudaEvent_t event) { return reinterpret_cast<Event*>(event); }

cudaError_t make_stream(cudaStream_t* stream) {
  return on_gpu([&] {
    *stream = reinterpret_cast<cudaStream_t>(new Stream{current_device});
    return cudaSuccess;
  });
}

bool is_of_device(cudaStream_t stream, int device) {
  return (stream == nullptr ? current_device : stream_of(stream)->device) == device;
}

std::byte* map(int fd, std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

// The arguments of combine_kernel, in combine.cu.
template <typename Stored>
struct Places {
  const Stored* sources[kMaxDeviceSources];
  Stored* destinations[kMaxDeviceSources];
  int num_destinations;
};

template <typename Codec>
void combine(void** arguments, int width) {
  using Stored = typename Codec::Stored;
  const auto& program = *static_cast<const CombineProgram*>(arguments[0]);
  const auto& places = *static_cast<const Places<Stored>*>(arguments[1]);
  const std::int64_t numel = *static_cast<const std::int64_t*>(arguments[2]) * width;
  for (std::int64_t i = 0; i < numel; ++i) {
    Stored result[1];
    combine_elements<Codec, 1>(
        program, [&](int s, Stored(&in)[1]) { in[0] = places.sources[s][i]; }, result);
    for (int d = 0; d < places.num_destinations; ++d) places.destinations[d][i] = result[0];
  }
}

cudaError_t run_kernel(const std::string& name, void** arguments) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  const int width = has(", 4>") ? 4 : 1;
  if (!has("combine_kernel<")) return cudaErrorInvalidDeviceFunction;
  if (has("BFloat16Codec")) return combine<BFloat16Codec>(arguments, width), cudaSuccess;
  if (has("Float16Codec")) return combine<Float16Codec>(arguments, width), cudaSuccess;
  if (has("<float>")) return combine<PlainCodec<float>>(arguments, width), cudaSuccess;
  if (has("<double>")) return combine<PlainCodec<double>>(arguments, width), cudaSuccess;
  if (has("<signed char>")) return combine<PlainCodec<std::int8_t>>(arguments, width), cudaSuccess;
  if (has("<short>")) return combine<PlainCodec<std::int16_t>>(arguments, width), cudaSuccess;
  if (has("<int>")) return combine<PlainCodec<std::int32_t>>(arguments, width), cudaSuccess;
  if (has("<long>")) return combine<PlainCodec<std::int64_t>>(arguments, width), cudaSuccess;
  if (has("<unsigned char>")) {
    return combine<PlainCodec<std::uint8_t>>(arguments, width), cudaSuccess;
  }
  return cudaErrorInvalidDeviceFunction;
}

}  // namespace

extern "C" {

// --- Errors
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
const char* cudaGetErrorName(cudaError_t error) {
  static thread_local char name[32];
  std::snprintf(name, sizeof(name), "error %d", static_cast<int>(error));
  return name;
}
const char* cudaGetErrorString(cudaError_t) { return "of the stand-in for CUDA's runtime"; }

// --- GPUs
cudaError_t cudaGetDeviceCount(int* count) {
  *count = gpus();
  return noted(begin());
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return noted(begin());
}
cudaError_t cudaSetDevice(int device) {
  return on_gpu([&] {
    if (device < 0 || device >= gpus()) return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return on_gpu([&] {
    if (device < 0 || device >= gpus()) return cudaErrorInvalidDevice;
    *properties = {};
    properties->uuid.bytes[0] = static_cast<char>(device + 1);
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return at_once();
}

// --- Streams and events
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return make_stream(stream);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return make_stream(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream_of(stream);
  return at_once();
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return at_once(); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return at_once(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return on_gpu([&] {
    *event = reinterpret_cast<cudaEvent_t>(new Event{current_device});
    return cudaSuccess;
  });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event_of(event);
  return at_once();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return on_gpu([&] {
    return is_of_device(stream, event_of(event)->device) ? cudaSuccess
                                                         : cudaErrorInvalidResourceHandle;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return on_gpu([&] { return event_of(event)->looks++ == 0 ? cudaErrorNotReady : cudaSuccess; });
}

// --- Memory
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return locked([&] {
    const std::size_t size = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    const int fd = memfd_create("muster-stand-in-gpu", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, static_cast<off_t>(size)) != 0) return cudaErrorMemoryAllocation;
    std::byte* const address = map(fd, size);
    if (address == nullptr) return cudaErrorMemoryAllocation;
    std::memset(address, 0xa5, kPageBytes);  // nobody promised zeros
    blocks[address] = {fd, size};
    *memory = address;
    return cudaSuccess;
  });
}
cudaError_t cudaFree(void* memory) {
  return locked([&] {
    const auto block = blocks.find(static_cast<std::byte*>(memory));
    if (block == blocks.end()) return cudaErrorInvalidValue;
    munmap(memory, block->second.bytes);
    close(block->second.fd);
    blocks.erase(block);
    return cudaSuccess;
  });
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  *memory = std::aligned_alloc(kPageBytes, (bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
  return at_once();
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return at_once();
}
cudaError_t cudaHostRegister(void*, std::size_t, unsigned) { return at_once(); }
cudaError_t cudaHostUnregister(void*) { return at_once(); }
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memmove(to, from, bytes);
  return at_once();
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  std::memmove(to, from, bytes);
  return at_once();
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
  std::memset(memory, value, bytes);
  return at_once();
}

// --- Memory of other processes
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* memory) {
  return locked([&] {
    const auto block = blocks.find(static_cast<std::byte*>(memory));
    if (block == blocks.end()) return cudaErrorInvalidValue;
    const Handle own{getpid(), block->second.fd, static_cast<std::int64_t>(block->second.bytes)};
    std::memcpy(handle, &own, sizeof(own));
    return cudaSuccess;
  });
}
cudaError_t cudaIpcOpenMemHandle(void** memory, cudaIpcMemHandle_t handle, unsigned) {
  return locked([&] {
    Handle theirs;
    std::memcpy(&theirs, &handle, sizeof(theirs));
    if (theirs.pid == getpid()) return cudaErrorInvalidDevice;
    const auto [place, is_new] = opened.try_emplace({theirs.pid, theirs.fd});
    if (is_new) {
      const std::string path =
          "/proc/" + std::to_string(theirs.pid) + "/fd/" + std::to_string(theirs.fd);
      const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
      const auto bytes = static_cast<std::size_t>(theirs.bytes);
      place->second = {fd < 0 ? nullptr : map(fd, bytes), bytes, 0};
      if (fd >= 0) close(fd);
    }
    if (place->second.memory == nullptr) {
      opened.erase(place);
      return cudaErrorMapBufferObjectFailed;
    }
    ++place->second.times;
    *memory = place->second.memory;
    return cudaSuccess;
  });
}
cudaError_t cudaIpcCloseMemHandle(void* memory) {
  return locked([&] {
    for (auto place = opened.begin(); place != opened.end(); ++place) {
      if (place->second.memory != memory) continue;
      if (--place->second.times > 0) return cudaSuccess;
      munmap(memory, place->second.bytes);
      opened.erase(place);
      return cudaSuccess;
    }
    return cudaErrorInvalidValue;
  });
}

// --- Kernels, as nvcc's code starts them
void** __cudaRegisterFatBinary(void*) {
  static void* binary = nullptr;
  return &binary;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  char* const readable = abi::__cxa_demangle(name, nullptr, nullptr, nullptr);
  kernels()[function] = readable == nullptr ? name : readable;
  std::free(readable);
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t, cudaStream_t stream) {
  launch_grid = grid;
  launch_block = block;
  launch_stream = stream;
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                       void* stream) {
  *grid = launch_grid;
  *block = launch_block;
  *shared_bytes = 0;
  std::memcpy(stream, &launch_stream, sizeof(launch_stream));
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void** arguments, std::size_t,
                               cudaStream_t stream) {
  return on_gpu([&] {
    if (!is_of_device(stream, current_device)) return cudaErrorInvalidResourceHandle;
    return run_kernel(kernels().at(kernel), arguments);
  });
}

}  // extern "C"
