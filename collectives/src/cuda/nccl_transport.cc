// Joining, groups of sends and receives, and what sums in between.
#include "cuda/nccl_transport.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "cuda/device_scope.h"

namespace muster::internal {
namespace {

constexpr auto kNap = std::chrono::microseconds(20);
constexpr auto kBetweenChecks = std::chrono::milliseconds(2);
// How much of other ranks' parts is held at a time.
constexpr std::int64_t kScratchBytes = 64 * 1024 * 1024;

// Elements to handle at once, so that one range of each source fits into the scratch memory.
std::int64_t range_numel(const Operation& op) {
  const std::int64_t numel = kScratchBytes / op.plan.sources / op.element_bytes();
  return std::max<std::int64_t>(64, numel / 64 * 64);
}

std::optional<ncclDataType_t> nccl_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return ncclFloat32;
    case DType::kFloat64:
      return ncclFloat64;
    case DType::kFloat16:
      return ncclFloat16;
    case DType::kBFloat16:
      return ncclBfloat16;
    case DType::kInt8:
      return ncclInt8;
    case DType::kInt32:
      return ncclInt32;
    case DType::kInt64:
      return ncclInt64;
    case DType::kUInt8:
      return ncclUint8;
    case DType::kInt16:
    case DType::kBool:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ncclRedOp_t> nccl_op(const ReducePlan& plan) {
  switch (plan.combine) {
    case Combine::kSum:
      return plan.divisor == 1 ? ncclSum : ncclAvg;
    case Combine::kMin:
      return ncclMin;
    case Combine::kMax:
      return ncclMax;
    case Combine::kProduct:
      return ncclProd;
    case Combine::kBitAnd:
    case Combine::kBitOr:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

/// Sends and receives of bytes that NCCL carries out together.
class NcclTransport::Group {
 public:
  Group(ncclComm_t comm, cudaStream_t stream) : comm_(comm), stream_(stream) {
    note(ncclGroupStart());
  }

  void send(int to, const std::byte* data, std::int64_t bytes) {
    if (bytes == 0) return;
    note(ncclSend(data, static_cast<std::size_t>(bytes), ncclInt8, to, comm_, stream_));
  }
  void receive(int from, std::byte* data, std::int64_t bytes) {
    if (bytes == 0) return;
    note(ncclRecv(data, static_cast<std::size_t>(bytes), ncclInt8, from, comm_, stream_));
  }
  /// Once.
  ncclResult_t end() {
    note(ncclGroupEnd());
    return result_;
  }

 private:
  // The first error, else the last state.
  void note(ncclResult_t result) {
    if (result_ == ncclSuccess || result_ == ncclInProgress) result_ = result;
  }

  ncclComm_t comm_;
  cudaStream_t stream_;
  ncclResult_t result_ = ncclSuccess;
};

NcclTransport::NcclTransport(std::unique_ptr<Transport> host, std::shared_ptr<CudaDevice> device,
                             int rank, int world_size, NcclReductions reductions)
    : DeviceTransport(std::move(host), device, rank, world_size),
      cuda_(std::move(device)),
      reductions_(reductions) {}

NcclTransport::~NcclTransport() { abandon_device(); }

std::unique_ptr<Transport> NcclTransport::rewired(std::unique_ptr<Transport> host, int rank,
                                                  int world_size) {
  return std::make_unique<NcclTransport>(std::move(host), cuda_, rank, world_size, reductions_);
}

// The unique id travels as everything else that ranks tell each other on the host.
void NcclTransport::connect(const OperationRun& run) {
  const DeviceScope scope(cuda_->index());
  ncclUniqueId id{};
  const ncclResult_t made = rank() == 0 ? ncclGetUniqueId(&id) : ncclSuccess;
  if (made != ncclSuccess) throw_failed(made, run);
  std::vector<std::byte> bytes(sizeof(id));
  std::memcpy(bytes.data(), &id, sizeof(id));
  std::memcpy(&id, from_all(run, bytes).data(), sizeof(id));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // so that no call of ours can hang beyond its deadline
  complete(ncclCommInitRankConfig(&comm_, world_size(), id, rank(), &config), run);
}

// Nothing of ours is under way: an operation ended with a meeting, or was given up.
void NcclTransport::abandon_device() noexcept {
  if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
}

void NcclTransport::complete(ncclResult_t result, const OperationRun& run) {
  auto next_check = std::chrono::steady_clock::now() + kBetweenChecks;
  while (result == ncclSuccess || result == ncclInProgress) {
    ncclResult_t state = ncclSuccess;
    result = ncclCommGetAsyncError(comm_, &state);
    if (result != ncclSuccess) break;
    if (state == ncclSuccess) return;
    result = state;
    if (state != ncclInProgress) break;
    run.check_wanted();
    if (run.overdue()) {
      throw Timeout(run.description() + ": expected NCCL to begin it within " +
                    std::to_string(run.timeout().count()) +
                    " ms, found it still connecting the ranks; " + kRestartAdvice +
                    ", or allow more time");
    }
    if (std::chrono::steady_clock::now() >= next_check) {
      check_peers(run);
      next_check = std::chrono::steady_clock::now() + kBetweenChecks;
    }
    std::this_thread::sleep_for(kNap);
  }
  throw_failed(result, run);
}

void NcclTransport::throw_failed(ncclResult_t result, const OperationRun& run) {
  const std::string found = run.description() + ": expected NCCL to do its part, found '" +
                            ncclGetErrorString(result) + "' (" + ncclGetLastError(comm_) + "); ";
  if (result == ncclRemoteError || result == ncclSystemError) {
    throw PeerLost(found + kRestartAdvice);
  }
  throw InternalError(found + "run it with NCCL_DEBUG=INFO, or let CUDA tensors travel by host");
}

void NcclTransport::check_device(const OperationRun& run) {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t result = ncclCommGetAsyncError(comm_, &state);
  if (result != ncclSuccess) throw_failed(result, run);
  if (state != ncclSuccess && state != ncclInProgress) throw_failed(state, run);
}

void NcclTransport::run_on_device(const OperationRun& run) {
  const DeviceScope scope(cuda_->index());
  const Operation& op = run.operation();
  device().follow(Lane::kFirst, op.issued);
  if (op.flow() == Flow::kPull) {
    move(run);
  } else if (op.signature.numel > 0 && !reduce_natively(run)) {
    check_sources(op);
    op.flow() == Flow::kReduceToSlot ? reduce_for_self(run) : reduce_for_others(run);
  }
  wait_for(device().mark(Lane::kFirst), run);
  host().greet(run);
}

// False when the operation has to follow its plan.
bool NcclTransport::reduce_natively(const OperationRun& run) {
  const Operation& op = run.operation();
  const auto type = nccl_type(op.plan.dtype);
  const auto combine = nccl_op(op.plan);
  const bool canonical = op.signature.logical_ranks > 0;
  if (reductions_ != NcclReductions::kFast || canonical || !type || !combine) return false;
  const auto numel = static_cast<std::size_t>(op.signature.numel);
  const void* const input = op.parts[0].data;
  cudaStream_t stream = cuda_->stream(Lane::kFirst);
  if (op.flow() == Flow::kReduceToAll) {
    complete(ncclAllReduce(input, op.output, numel, *type, *combine, comm_, stream), run);
  } else if (op.flow() == Flow::kReduceToRoot) {
    complete(ncclReduce(input, op.output, numel, *type, *combine, op.signature.root, comm_, stream),
             run);
  } else {
    complete(ncclReduceScatter(input, op.output, numel, *type, *combine, comm_, stream), run);
  }
  return true;
}

// Freeing waits for the whole GPU, and there another communicator's kernel may wait for a rank that
// waits for this one. So what has grown too small is kept, in sizes whose sum is below the next.
std::byte* NcclTransport::scratch(std::int64_t bytes) {
  if (bytes > scratch_bytes_) {
    const auto size = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(bytes)));
    scratches_.push_back(device().allocate(size));
    scratch_bytes_ = size;
  }
  return scratches_.back().get();
}

// What combines ranges of `bytes` of all ranks' parts for this rank. Those of other ranks are to be
// received into the scratch memory, the first range of which is left for a result.
std::vector<const std::byte*> NcclTransport::receive_sources(const Operation& op,
                                                             std::int64_t own_offset_bytes,
                                                             std::int64_t bytes, Group& group) {
  std::byte* free = scratches_.back().get() + bytes;
  return plan_sources(op, rank(), [&](int r, int p) -> const std::byte* {
    if (r == rank()) return op.parts[static_cast<std::size_t>(p)].data + own_offset_bytes;
    std::byte* const slot = free;
    free += bytes;
    group.receive(r, slot, bytes);
    return slot;
  });
}

// As mpi_transport does it.
void NcclTransport::reduce_for_others(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t step = range_numel(op) * world_size();
  for (std::int64_t begin = 0; begin < op.signature.numel; begin += step) {
    const std::int64_t numel = std::min(step, op.signature.numel - begin);
    const auto offset_of = [&](int r) {
      return (begin + owned_slice(numel, r, world_size()).begin) * op.element_bytes();
    };
    const auto bytes_of = [&](int r) {
      return owned_slice(numel, r, world_size()).numel() * op.element_bytes();
    };
    std::byte* const beside = scratch(bytes_of(rank()) * (op.plan.sources + 1));
    Group scatter(comm_, cuda_->stream(Lane::kFirst));
    const auto sources = receive_sources(op, offset_of(rank()), bytes_of(rank()), scatter);
    for (int r = 0; r < world_size(); ++r) {
      if (r == rank()) continue;
      for (const Part& part : op.parts) scatter.send(r, part.data + offset_of(r), bytes_of(r));
    }
    complete(scatter.end(), run);
    std::byte* const own = op.output == nullptr ? beside : op.output + offset_of(rank());
    device().reduce(op.plan, sources, {&own, 1}, bytes_of(rank()) / op.element_bytes());
    give_back(run, begin, numel, own);
  }
}

// The slices' results, from their owners to all that get them.
void NcclTransport::give_back(const OperationRun& run, std::int64_t begin, std::int64_t numel,
                              const std::byte* own) {
  const Operation& op = run.operation();
  const std::int64_t own_bytes =
      owned_slice(numel, rank(), world_size()).numel() * op.element_bytes();
  Group gather(comm_, cuda_->stream(Lane::kFirst));
  for (int r = 0; r < world_size(); ++r) {
    if (r == rank()) continue;
    const ElementRange slice = owned_slice(numel, r, world_size());
    if (op.output != nullptr) {
      gather.receive(r, op.output + (begin + slice.begin) * op.element_bytes(),
                     slice.numel() * op.element_bytes());
    }
    if (op.gets_result(r)) gather.send(r, own, own_bytes);
  }
  complete(gather.end(), run);
}

void NcclTransport::reduce_for_self(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t step = range_numel(op);
  for (std::int64_t begin = 0; begin < op.signature.numel; begin += step) {
    const std::int64_t bytes = std::min(step, op.signature.numel - begin) * op.element_bytes();
    const std::int64_t offset = begin * op.element_bytes();
    scratch(bytes * (op.plan.sources + 1));
    Group scatter(comm_, cuda_->stream(Lane::kFirst));
    const auto sources = receive_sources(op, offset, bytes, scatter);
    for (std::size_t p = 0; p < op.parts.size(); ++p) {
      const int to = static_cast<int>(p) % world_size();
      if (to != rank()) scatter.send(to, op.parts[p].data + offset, bytes);
    }
    complete(scatter.end(), run);
    std::byte* const output = op.output + offset;
    device().reduce(op.plan, sources, {&output, 1}, bytes / op.element_bytes());
  }
}

void NcclTransport::move(const OperationRun& run) {
  const Operation& op = run.operation();
  Group group(comm_, cuda_->stream(Lane::kFirst));
  for (const Pull& pull : op.pulls) {
    if (pull.from != rank()) group.receive(pull.from, pull.to, pull.numel * op.element_bytes());
  }
  for (const Push& push : op.pushes) {
    const Part& part = op.parts[static_cast<std::size_t>(push.part)];
    group.send(push.to, part.data, part.numel * op.element_bytes());
  }
  complete(group.end(), run);
  for (const Pull& pull : op.pulls) {
    if (pull.from != rank()) continue;
    const std::byte* from = op.parts[static_cast<std::size_t>(pull.part)].data;
    if (from != pull.to) {
      device().copy(Lane::kFirst, pull.to, from, pull.numel * op.element_bytes());
    }
  }
}

}  // namespace muster::internal
