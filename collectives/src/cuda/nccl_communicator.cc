// NCCL behind the Communicator interface.
#include "muster/collectives/nccl_communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "cuda/tree_sum.h"
#include "muster/base/error.h"
#include "tensor_checks.h"

namespace muster {
namespace internal {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds kPollInterval{50};

void check_cuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw InternalError(std::string("NCCL transport: ") + call +
                      " failed: " + cudaGetErrorString(error));
}

ncclDataType_t nccl_type(OperationKind kind, at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    default:
      break;
  }
  reject(kind, "float32, float64, bfloat16 or int64", c10::toString(type), "convert the tensor");
}

ncclRedOp_t nccl_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMin:
      return ncclMin;
    case ReduceOp::kMax:
      return ncclMax;
    case ReduceOp::kSum:
      break;
  }
  return ncclSum;
}

/// NCCL's handle, shared by the communicator and the operations in flight. The first failure aborts
/// it and is kept.
class Connection {
 public:
  Connection(ncclUniqueId id, int rank, int world_size, const NcclOptions& options)
      : options_(options) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that no call of ours can hang beyond its deadline
    const Clock::time_point deadline = Clock::now() + options.timeout;
    complete(ncclCommInitRankConfig(&comm_, world_size, id, rank, &config), "joining", deadline);
  }

  ~Connection() {
    if (comm_ != nullptr)
      ncclCommAbort(comm_);  // nothing is waited for: operations hold this object
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  ncclComm_t comm() const { return comm_; }
  const NcclOptions& options() const { return options_; }

  /// Waits until a non-blocking call is done; throws and aborts otherwise.
  void complete(ncclResult_t result, const std::string& what, Clock::time_point deadline) {
    while (result == ncclSuccess || result == ncclInProgress) {
      ncclResult_t state = ncclSuccess;
      result = ncclCommGetAsyncError(comm_, &state);
      if (result != ncclSuccess) break;
      if (state == ncclSuccess) return;
      result = state;
      if (state != ncclInProgress) break;
      if (Clock::now() > deadline) fail_with_timeout(what);
      std::this_thread::sleep_for(kPollInterval);
    }
    fail(what + ": expected every rank to take part, found NCCL's error '" +
         ncclGetErrorString(result) + "'; a rank is lost: start the job again");
  }

  /// Rethrows the first failure, if there was one.
  void check() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (error_) std::rethrow_exception(error_);
  }

  [[noreturn]] void fail_with_timeout(const std::string& what) {
    abort(std::make_exception_ptr(
        Timeout(what + ": expected it to end within " + std::to_string(options_.timeout.count()) +
                " ms, found it still running; look at the other ranks, or raise the timeout")));
  }

 private:
  [[noreturn]] void fail(const std::string& message) {
    abort(std::make_exception_ptr(PeerLost(message)));
  }

  [[noreturn]] void abort(std::exception_ptr error) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) {
      error_ = std::move(error);
      if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
    }
    std::rethrow_exception(error_);
  }

  NcclOptions options_;
  ncclComm_t comm_ = nullptr;
  std::mutex mutex_;
  std::exception_ptr error_;
};

class NcclWork : public WorkState {
 public:
  /// Records the end of the operation on `stream`, behind what was issued there. `tensors` live
  /// until then.
  NcclWork(std::shared_ptr<Connection> connection, std::string what, cudaStream_t stream,
           std::vector<at::Tensor> tensors)
      : connection_(std::move(connection)),
        what_(std::move(what)),
        deadline_(Clock::now() + connection_->options().timeout),
        tensors_(std::move(tensors)) {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
    check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  // The tensors' memory must not be used again before the operation has ended.
  ~NcclWork() override {
    cudaEventSynchronize(event_);
    cudaEventDestroy(event_);
  }

  bool done() const override { return cudaEventQuery(event_) != cudaErrorNotReady; }

  void wait() override {
    connection_->check();
    while (true) {
      const cudaError_t state = cudaEventQuery(event_);
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) check_cuda(state, what_.c_str());
      connection_->complete(ncclSuccess, what_, deadline_);
      if (Clock::now() > deadline_) connection_->fail_with_timeout(what_);
      std::this_thread::yield();
    }
  }

 private:
  std::shared_ptr<Connection> connection_;
  std::string what_;
  Clock::time_point deadline_;
  std::vector<at::Tensor> tensors_;
  cudaEvent_t event_ = nullptr;
};

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(ncclUniqueId id, int rank, int world_size, const NcclOptions& options)
      : Communicator(rank, world_size),
        device_(static_cast<c10::DeviceIndex>(options.device)),
        connection_(std::make_shared<Connection>(id, rank, world_size, options)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_)) {}

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    constexpr OperationKind kKind = OperationKind::kAllReduce;
    check_tensor(kKind, tensor, at::kCUDA);
    const ncclDataType_t type = nccl_type(kKind, tensor.scalar_type());
    return run(kKind, {tensor}, [&](ncclComm_t comm) {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), count(tensor), type, nccl_op(op),
                           comm, stream_);
    });
  }

  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) override {
    constexpr OperationKind kKind = OperationKind::kReduceScatter;
    check_pair(kKind, output, input);
    const ncclDataType_t type = nccl_type(kKind, input.scalar_type());
    return run(kKind, {output, input}, [&](ncclComm_t comm) {
      return ncclReduceScatter(input.data_ptr(), output.data_ptr(), count(output), type,
                               nccl_op(op), comm, stream_);
    });
  }

  Work all_gather(at::Tensor output, at::Tensor input) override {
    constexpr OperationKind kKind = OperationKind::kAllGather;
    check_pair(kKind, input, output);
    return run(kKind, {output, input}, [&](ncclComm_t comm) {
      return ncclAllGather(input.data_ptr(), output.data_ptr(), input.nbytes(), ncclInt8, comm,
                           stream_);
    });
  }

  Work broadcast(at::Tensor tensor, int root) override {
    constexpr OperationKind kKind = OperationKind::kBroadcast;
    check_tensor(kKind, tensor, at::kCUDA);
    if (root < 0 || root >= world_size()) {
      reject(kKind, "a root below the world size", std::to_string(root), "name a rank");
    }
    return run(kKind, {tensor}, [&](ncclComm_t comm) {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclInt8, root,
                           comm, stream_);
    });
  }

  Work barrier() override {
    const at::Tensor token = on_device({1}, at::kInt);
    return run(OperationKind::kBarrier, {token}, [&](ncclComm_t comm) {
      return ncclAllReduce(token.data_ptr(), token.data_ptr(), 1, ncclInt32, ncclSum, comm,
                           stream_);
    });
  }

  Work canonical_all_reduce(std::vector<at::Tensor> partials, const ReductionTree& tree) override;

  at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) override {
    return at::zeros({numel}, at::TensorOptions(dtype).device(at::kCUDA, device_));
  }

 private:
  static std::size_t count(const at::Tensor& tensor) {
    return static_cast<std::size_t>(tensor.numel());
  }

  at::Tensor on_device(at::IntArrayRef sizes, at::ScalarType dtype) const {
    return at::empty(sizes, at::TensorOptions(dtype).device(at::kCUDA, device_));
  }

  void check_pair(OperationKind kind, const at::Tensor& slice, const at::Tensor& whole) const {
    check_tensor(kind, slice, at::kCUDA);
    check_tensor(kind, whole, at::kCUDA);
    check_same_dtype(kind, slice, whole);
    check_slice(kind, slice, whole, rank(), world_size());
  }

  /// Issues `call` on our stream, behind what the caller's stream holds now. Returns the
  /// operation's name.
  template <typename Call>
  std::string issue(OperationKind kind, const Call& call) {
    connection_->check();
    std::string what = std::string(operation_name(kind)) + " #" + std::to_string(++sequence_);
    const c10::cuda::CUDAGuard guard(device_);
    follow_caller();
    const Clock::time_point deadline = Clock::now() + connection_->options().timeout;
    connection_->complete(call(connection_->comm()), what, deadline);
    return what;
  }

  template <typename Call>
  Work run(OperationKind kind, std::vector<at::Tensor> tensors, const Call& call) {
    std::string what = issue(kind, call);
    return Work(
        std::make_shared<NcclWork>(connection_, std::move(what), stream_, std::move(tensors)));
  }

  void follow_caller() const {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    const cudaError_t recorded =
        cudaEventRecord(event, c10::cuda::getCurrentCUDAStream(device_).stream());
    const cudaError_t waited = cudaStreamWaitEvent(stream_, event, 0);
    cudaEventDestroy(event);
    check_cuda(recorded, "cudaEventRecord");
    check_cuda(waited, "cudaStreamWaitEvent");
  }

  c10::DeviceIndex device_;
  std::shared_ptr<Connection> connection_;
  c10::cuda::CUDAStream stream_;
  std::uint64_t sequence_ = 0;
};

/// Elements [begin, end) of which rank `owner` makes the sum.
struct OwnedSlice {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t numel() const { return end - begin; }
};

OwnedSlice owned_slice_of(std::int64_t numel, int owner, int world_size) {
  const std::int64_t quotient = numel / world_size, remainder = numel % world_size;
  const auto cut = [&](std::int64_t r) { return quotient * r + std::min(r, remainder); };
  return {cut(owner), cut(owner + 1)};
}

// All-to-all of subtree slices to their owners, the tree's sum at each owner, and every owner's
// slice back to all: the same bytes as a ring.
Work NcclCommunicator::canonical_all_reduce(std::vector<at::Tensor> partials,
                                            const ReductionTree& tree) {
  constexpr OperationKind kKind = OperationKind::kCanonicalAllReduce;
  const auto subtrees = tree.subtrees_by_rank(world_size());
  const auto& own = subtrees[static_cast<std::size_t>(rank())];
  if (partials.size() != own.size()) {
    reject(kKind, std::to_string(own.size()) + " partials, one for each maximal subtree",
           std::to_string(partials.size()), "sum each subtree of this rank's run");
  }
  for (const at::Tensor& partial : partials) {
    check_tensor(kKind, partial, at::kCUDA);
    check_same_dtype(kKind, partial, partials.front());
    if (partial.numel() != partials.front().numel()) {
      reject(kKind, "partials of one size", std::to_string(partial.numel()), "pass equal tensors");
    }
  }
  const DType dtype = check_reducible(kKind, partials.front(), /*canonical=*/true);
  std::vector<LogicalRange> all;
  for (const auto& of_rank : subtrees) all.insert(all.end(), of_rank.begin(), of_rank.end());
  const auto sources = static_cast<int>(all.size());
  if (sources > kMaxTreeSources) {
    reject(kKind, "at most " + std::to_string(kMaxTreeSources) + " subtrees over all ranks",
           std::to_string(sources), "choose logical ranks that are a multiple of the world size");
  }
  const std::int64_t numel = partials.front().numel();
  const std::int64_t element_bytes = partials.front().element_size();
  const ncclDataType_t type = nccl_type(kKind, partials.front().scalar_type());
  const OwnedSlice mine = owned_slice_of(numel, rank(), world_size());
  const at::Tensor received = on_device({sources, mine.numel()}, partials.front().scalar_type());
  const auto bytes_at = [&](const at::Tensor& tensor, std::int64_t element) {
    return static_cast<char*>(tensor.data_ptr()) + element * element_bytes;
  };
  std::vector<at::Tensor> tensors = partials;
  tensors.push_back(received);

  issue(kKind, [&](ncclComm_t comm) {
    ncclGroupStart();
    std::int64_t row = 0;
    for (int peer = 0; peer < world_size(); ++peer) {
      const OwnedSlice theirs = owned_slice_of(numel, peer, world_size());
      for (const at::Tensor& partial : partials) {
        ncclSend(bytes_at(partial, theirs.begin), static_cast<std::size_t>(theirs.numel()), type,
                 peer, comm, stream_);
      }
      for (std::size_t j = 0; j < subtrees[static_cast<std::size_t>(peer)].size(); ++j) {
        ncclRecv(bytes_at(received, row++ * mine.numel()), static_cast<std::size_t>(mine.numel()),
                 type, peer, comm, stream_);
      }
    }
    return ncclGroupEnd();
  });
  tree_sum(received.data_ptr(), sources, mine.numel(), mine.numel(), tree.schedule(all), dtype,
           bytes_at(partials.front(), mine.begin), stream_);
  return run(kKind, std::move(tensors), [&](ncclComm_t comm) {
    ncclGroupStart();
    for (int owner = 0; owner < world_size(); ++owner) {
      const OwnedSlice slice = owned_slice_of(numel, owner, world_size());
      char* at = bytes_at(partials.front(), slice.begin);
      ncclBroadcast(at, at, static_cast<std::size_t>(slice.numel()), type, owner, comm, stream_);
    }
    return ncclGroupEnd();
  });
}

}  // namespace
}  // namespace internal

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& bootstrap,
                                                     const NcclOptions& options) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
  if (options.device < 0 || options.device >= devices) {
    throw ConfigError("NCCL transport: expected a GPU number below " + std::to_string(devices) +
                      ", found " + std::to_string(options.device) +
                      "; check CUDA_VISIBLE_DEVICES and the driver");
  }
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(options.device));
  ncclUniqueId id{};
  if (bootstrap.rank() == 0 && ncclGetUniqueId(&id) != ncclSuccess) {
    throw InternalError(std::string("NCCL transport: ncclGetUniqueId failed: ") +
                        ncclGetLastError(nullptr));
  }
  at::Tensor bytes =
      at::zeros({static_cast<std::int64_t>(sizeof(id))}, at::TensorOptions(at::kByte));
  std::memcpy(bytes.data_ptr(), &id, sizeof(id));
  bootstrap.broadcast(bytes, 0).wait();
  std::memcpy(&id, bytes.const_data_ptr(), sizeof(id));
  return std::make_unique<internal::NcclCommunicator>(id, bootstrap.rank(), bootstrap.world_size(),
                                                      options);
}

}  // namespace muster
