// The kernel behind combine_on_device.
#include <algorithm>
#include <string>

#include "cuda/combine.h"
#include "device/combine_element.h"
#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 65536;
// Neighbouring elements of one thread: enough loads under way to keep the memory busy.
constexpr int kLanes = 4;

// Travels as a kernel argument, so that nothing has to be copied ahead of the launch.
template <typename Stored>
struct Places {
  const Stored* sources[kMaxDeviceSources];
  Stored* destinations[kMaxDeviceSources];
  int num_destinations;
};
static_assert(sizeof(CombineProgram) + sizeof(Places<float>) + sizeof(std::int64_t) <= 4096,
              "more than every GPU takes as arguments of a kernel");

template <typename Stored, int kWidth>
struct alignas(kWidth * sizeof(Stored)) Pack {
  Stored values[kWidth];
};

template <typename Codec, int kWidth>
__global__ void combine_kernel(const CombineProgram program,
                               const Places<typename Codec::Stored> places, std::int64_t packs) {
  using Stored = typename Codec::Stored;
  using PackOf = Pack<Stored, kWidth>;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; p < packs;
       p += step) {
    PackOf result;
    combine_elements<Codec, kWidth>(
        program,
        [&](int s, Stored(&in)[kWidth]) {
          const PackOf pack = reinterpret_cast<const PackOf*>(places.sources[s])[p];
          for (int i = 0; i < kWidth; ++i) in[i] = pack.values[i];
        },
        result.values);
    for (int d = 0; d < places.num_destinations; ++d) {
      reinterpret_cast<PackOf*>(places.destinations[d])[p] = result;
    }
  }
}

template <typename Codec, int kWidth>
void launch(const CombineProgram& program, const Places<typename Codec::Stored>& places,
            std::int64_t packs, cudaStream_t stream) {
  if (packs == 0) return;
  const std::int64_t blocks = std::min(kMaxBlocks, (packs + kThreads - 1) / kThreads);
  combine_kernel<Codec, kWidth>
      <<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(program, places, packs);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw InternalError(std::string("combining on the GPU: expected a kernel to start, found ") +
                        cudaGetErrorString(error) +
                        "; check that this build has code for this GPU "
                        "(CMAKE_CUDA_ARCHITECTURES)");
  }
}

template <typename Pointer>
bool is_aligned(Pointer pointer, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

template <typename Codec>
void combine(const CombineProgram& program, std::span<const std::byte* const> sources,
             std::span<std::byte* const> destinations, std::int64_t numel, cudaStream_t stream) {
  using Stored = typename Codec::Stored;
  Places<Stored> places = {};
  bool aligned = true;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    places.sources[s] = reinterpret_cast<const Stored*>(sources[s]);
    aligned = aligned && is_aligned(sources[s], kLanes * sizeof(Stored));
  }
  for (std::size_t d = 0; d < destinations.size(); ++d) {
    places.destinations[d] = reinterpret_cast<Stored*>(destinations[d]);
    aligned = aligned && is_aligned(destinations[d], kLanes * sizeof(Stored));
  }
  places.num_destinations = static_cast<int>(destinations.size());
  const std::int64_t packs = aligned ? numel / kLanes : 0;
  launch<Codec, kLanes>(program, places, packs, stream);
  for (std::size_t s = 0; s < sources.size(); ++s) places.sources[s] += packs * kLanes;
  for (std::size_t d = 0; d < destinations.size(); ++d) places.destinations[d] += packs * kLanes;
  launch<Codec, 1>(program, places, numel - packs * kLanes, stream);
}

}  // namespace

void combine_on_device(const ReducePlan& plan, std::span<const std::byte* const> sources,
                       std::span<std::byte* const> destinations, std::int64_t numel,
                       cudaStream_t stream) {
  MUSTER_CHECK_EQ(static_cast<std::size_t>(plan.sources), sources.size());
  MUSTER_CHECK(!destinations.empty() && destinations.size() <= kMaxDeviceSources)
      << destinations.size();
  const CombineProgram program = combine_program(plan);
  switch (plan.dtype) {
    case DType::kFloat32:
      return combine<PlainCodec<float>>(program, sources, destinations, numel, stream);
    case DType::kFloat64:
      return combine<PlainCodec<double>>(program, sources, destinations, numel, stream);
    case DType::kFloat16:
      return combine<Float16Codec>(program, sources, destinations, numel, stream);
    case DType::kBFloat16:
      return combine<BFloat16Codec>(program, sources, destinations, numel, stream);
    case DType::kInt8:
      return combine<PlainCodec<std::int8_t>>(program, sources, destinations, numel, stream);
    case DType::kInt16:
      return combine<PlainCodec<std::int16_t>>(program, sources, destinations, numel, stream);
    case DType::kInt32:
      return combine<PlainCodec<std::int32_t>>(program, sources, destinations, numel, stream);
    case DType::kInt64:
      return combine<PlainCodec<std::int64_t>>(program, sources, destinations, numel, stream);
    case DType::kUInt8:
      return combine<PlainCodec<std::uint8_t>>(program, sources, destinations, numel, stream);
    case DType::kBool:
      break;
  }
  MUSTER_CHECK(false) << "no kernel for dtype " << dtype_name(plan.dtype);
}

}  // namespace muster::internal
