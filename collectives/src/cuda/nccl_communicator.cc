// NCCL behind the Communicator interface.
#include "muster/collectives/nccl_communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "cuda/combine.h"
#include "cuda/nccl_connection.h"
#include "describe_operation.h"
#include "device/combine_program.h"
#include "muster/base/error.h"
#include "tensor_checks.h"

namespace muster {
namespace internal {
namespace {

ncclDataType_t nccl_type(DType dtype) {
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
      break;
  }
  throw ConfigError("NCCL transport: expected a dtype that NCCL can combine, found " +
                    std::string(dtype_name(dtype)) + "; convert the tensor to int32 or float32");
}

ncclRedOp_t nccl_op(const ReducePlan& plan) {
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
      break;
  }
  throw ConfigError(
      "NCCL transport: expected a sum, average, minimum, maximum or product, found a combination "
      "of bits (which bool asks for, too); use int32 tensors with kMin and kMax");
}

/// Carries out Operations on CUDA memory: each is described as for any other transport, and issued
/// on one stream.
class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(ncclUniqueId id, int rank, int world_size, const NcclOptions& options)
      : Communicator(rank, world_size),
        device_(static_cast<c10::DeviceIndex>(options.device)),
        orders_(world_size),
        connection_(std::make_shared<NcclConnection>(id, rank, world_size, options)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_)) {}

  using Communicator::all_reduce;
  Work all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) override {
    return run(describe_all_reduce(caller(), output, input, op), {output, input});
  }
  Work reduce(at::Tensor output, at::Tensor input, int root, ReduceOp op) override {
    return run(describe_reduce(caller(), output, input, root, op), {output, input});
  }
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) override {
    return run(describe_reduce_scatter(caller(), output, input, op), {output, input});
  }
  Work all_gather(at::Tensor output, at::Tensor input) override {
    return run(describe_all_gather(caller(), output, input), {output, input});
  }
  Work all_gather(at::Tensor output, at::Tensor input, const Counts& counts) override {
    return run(describe_all_gather(caller(), output, input, counts), {output, input});
  }
  Work broadcast(at::Tensor tensor, int root) override {
    return run(describe_broadcast(caller(), tensor, root), {tensor});
  }
  Work scatter(at::Tensor output, at::Tensor input, int root) override {
    return run(describe_scatter(caller(), output, input, root), {output, input});
  }
  Work gather(at::Tensor output, at::Tensor input, int root) override {
    return run(describe_gather(caller(), output, input, root), {output, input});
  }
  Work all_to_all(at::Tensor output, at::Tensor input) override {
    return run(describe_all_to_all(caller(), output, input), {output, input});
  }
  Work all_to_all(at::Tensor output, const Counts& output_counts, at::Tensor input,
                  const Counts& input_counts) override {
    return run(describe_all_to_all(caller(), output, output_counts, input, input_counts),
               {output, input});
  }
  Work send(at::Tensor tensor, int peer) override {
    return run(describe_send(caller(), tensor, peer), {tensor});
  }
  Work recv(at::Tensor tensor, int peer) override {
    return run(describe_receive(caller(), tensor, peer), {tensor});
  }
  Work barrier() override { return all_reduce(on_device(1, at::kInt), ReduceOp::kMax); }
  Work canonical_all_reduce(std::vector<at::Tensor> partials, const ReductionTree& tree) override {
    const Operation op = describe_canonical_all_reduce(caller(), partials, tree);
    return run(op, std::move(partials));
  }
  Work canonical_reduce_scatter(at::Tensor output, std::vector<at::Tensor> partials,
                                const ReductionTree& tree) override {
    const Operation op = describe_canonical_reduce_scatter(caller(), output, partials, tree);
    partials.push_back(output);
    return run(op, std::move(partials));
  }

  at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) override {
    return at::zeros({numel}, at::TensorOptions(dtype).device(at::kCUDA, device_));
  }
  at::Tensor allocate_shared(std::int64_t, at::ScalarType) override { return {}; }
  std::unique_ptr<Communicator> split(int color, int key) override;
  std::unique_ptr<Communicator> shrink(std::chrono::milliseconds) override { cannot("shrink"); }
  std::unique_ptr<Communicator> replace(std::chrono::milliseconds) override { cannot("replace"); }
  void abort(const std::string& reason) override {
    connection_->abort(std::make_exception_ptr(PeerLost("aborted by this rank: " + reason)));
  }

 private:
  Caller caller() { return {rank(), world_size(), at::kCUDA, &orders_}; }

  [[noreturn]] static void cannot(const std::string& call) {
    throw ConfigError(call +
                      ": expected ranks that share memory, found NCCL, which cannot tell who is "
                      "left; call it on the communicator that this one was made of, and make "
                      "another of the result");
  }

  at::Tensor on_device(std::int64_t numel, at::ScalarType dtype) const {
    return at::zeros({numel}, at::TensorOptions(dtype).device(at::kCUDA, device_));
  }

  /// Issues `op` on our stream, behind what the caller's stream holds now.
  Work run(const Operation& op, std::vector<at::Tensor> tensors) {
    connection_->check();
    const std::string what =
        op.signature.description() + ", operation " + std::to_string(sequence_++);
    const c10::cuda::CUDAGuard guard(device_);
    follow_caller();
    issue(op, what, tensors);
    return Work(std::make_shared<NcclWork>(connection_, what, stream_, std::move(tensors)));
  }

  void issue(const Operation& op, const std::string& what, std::vector<at::Tensor>& tensors) {
    const bool canonical = op.signature.logical_ranks > 0;
    if (canonical) {
      tensors.push_back(sum_in_tree_order(op, what));
    } else if (op.flow() == Flow::kPull || op.flow() == Flow::kPeer) {
      move(op, what);
    } else {
      reduce_natively(op, what);
    }
  }

  /// Waits until NCCL has taken the call.
  void complete(ncclResult_t result, const std::string& what) {
    const auto deadline = NcclConnection::Clock::now() + connection_->options().timeout;
    connection_->complete(result, what, deadline);
  }

  void reduce_natively(const Operation& op, const std::string& what);
  void move(const Operation& op, const std::string& what);
  at::Tensor sum_in_tree_order(const Operation& op, const std::string& what);
  void give_back(const Operation& op, const std::string& what);

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

  void copy_on_device(std::byte* to, const std::byte* from, std::int64_t bytes) const {
    if (bytes == 0 || to == from) return;
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                               stream_),
               "cudaMemcpyAsync");
  }

  c10::DeviceIndex device_;
  SumOrders orders_;
  std::shared_ptr<NcclConnection> connection_;
  c10::cuda::CUDAStream stream_;
  std::uint64_t sequence_ = 0;
};

// NCCL's own order of summation.
void NcclCommunicator::reduce_natively(const Operation& op, const std::string& what) {
  const ncclDataType_t type = nccl_type(op.plan.dtype);
  const ncclRedOp_t combine = nccl_op(op.plan);
  const auto numel = static_cast<std::size_t>(op.signature.numel);
  const void* const input = op.parts[0].data;
  ncclComm_t comm = connection_->comm();
  ncclResult_t result = ncclSuccess;
  if (op.flow() == Flow::kReduceToAll) {
    result = ncclAllReduce(input, op.output, numel, type, combine, comm, stream_);
  } else if (op.flow() == Flow::kReduceToRoot) {
    result = ncclReduce(input, op.output, numel, type, combine, op.signature.root, comm, stream_);
  } else {
    result = ncclReduceScatter(input, op.output, numel, type, combine, comm, stream_);
  }
  complete(result, what);
}

// One group of sends and receives, of bytes.
void NcclCommunicator::move(const Operation& op, const std::string& what) {
  ncclComm_t comm = connection_->comm();
  const auto bytes_of = [&](std::int64_t numel) {
    return static_cast<std::size_t>(numel * op.element_bytes());
  };
  ncclGroupStart();
  for (const Pull& pull : op.pulls) {
    const std::size_t bytes = bytes_of(pull.numel);
    if (pull.from == rank()) {
      copy_on_device(pull.to, op.parts[static_cast<std::size_t>(pull.part)].data,
                     static_cast<std::int64_t>(bytes));
    } else if (bytes > 0) {
      ncclRecv(pull.to, bytes, ncclInt8, pull.from, comm, stream_);
    }
  }
  for (const Push& push : op.pushes) {
    const Part& part = op.parts[static_cast<std::size_t>(push.part)];
    if (part.numel > 0) ncclSend(part.data, bytes_of(part.numel), ncclInt8, push.to, comm, stream_);
  }
  const std::size_t bytes = op.flow() == Flow::kPeer ? bytes_of(op.signature.numel) : 0;
  if (bytes > 0 && op.signature.kind == OperationKind::kSend) {
    ncclSend(op.parts[0].data, bytes, ncclInt8, op.peer, comm, stream_);
  } else if (bytes > 0) {
    ncclRecv(op.output, bytes, ncclInt8, op.peer, comm, stream_);
  }
  complete(ncclGroupEnd(), what);
}

// All-to-all of the sources' slices to their owners and the tree's sum at each owner; for an
// all_reduce every owner's slice then goes back to all: the same bytes as a ring. Returns the
// memory that must live until the end.
at::Tensor NcclCommunicator::sum_in_tree_order(const Operation& op, const std::string& what) {
  if (op.plan.sources > kMaxDeviceSources) {
    reject(op.signature.kind,
           "at most " + std::to_string(kMaxDeviceSources) + " subtrees over all ranks",
           std::to_string(op.plan.sources),
           "choose logical ranks that are a multiple of the world size");
  }
  const bool to_slot = op.flow() == Flow::kReduceToSlot;
  const int own_sources = op.sources_by_rank[static_cast<std::size_t>(rank())];
  const auto slice_of = [&](int r) {
    return to_slot ? ElementRange{0, op.signature.numel}
                   : owned_slice(op.signature.numel, r, world_size());
  };
  const auto bytes_of = [&](int r) {
    return static_cast<std::size_t>(slice_of(r).numel() * op.element_bytes());
  };
  const ElementRange mine = slice_of(rank());
  const at::Tensor received =
      on_device(op.plan.sources * static_cast<std::int64_t>(bytes_of(rank())), at::kByte);
  auto* row = static_cast<std::byte*>(received.data_ptr());
  ncclComm_t comm = connection_->comm();
  ncclGroupStart();
  for (int peer = 0; peer < world_size(); ++peer) {
    for (int j = 0; j < own_sources; ++j) {
      const int part = to_slot ? j * world_size() + peer : j;
      const std::byte* data =
          op.parts[static_cast<std::size_t>(part)].data + slice_of(peer).begin * op.element_bytes();
      if (bytes_of(peer) > 0) ncclSend(data, bytes_of(peer), ncclInt8, peer, comm, stream_);
    }
    for (int j = 0; j < op.sources_by_rank[static_cast<std::size_t>(peer)]; ++j) {
      if (bytes_of(rank()) > 0) ncclRecv(row, bytes_of(rank()), ncclInt8, peer, comm, stream_);
      row += bytes_of(rank());
    }
  }
  complete(ncclGroupEnd(), what);
  std::vector<const std::byte*> rows;
  for (int s = 0; s < op.plan.sources; ++s) {
    rows.push_back(static_cast<const std::byte*>(received.const_data_ptr()) +
                   s * static_cast<std::int64_t>(bytes_of(rank())));
  }
  std::byte* const result = op.output + mine.begin * op.element_bytes();
  combine_on_device(op.plan, rows, {&result, 1}, mine.numel(), stream_);
  if (!to_slot) give_back(op, what);
  return received;
}

void NcclCommunicator::give_back(const Operation& op, const std::string& what) {
  ncclComm_t comm = connection_->comm();
  ncclGroupStart();
  for (int owner = 0; owner < world_size(); ++owner) {
    const ElementRange slice = owned_slice(op.signature.numel, owner, world_size());
    std::byte* at = op.output + slice.begin * op.element_bytes();
    const auto bytes = static_cast<std::size_t>(slice.numel() * op.element_bytes());
    if (bytes > 0) ncclBroadcast(at, at, bytes, ncclInt8, owner, comm, stream_);
  }
  complete(ncclGroupEnd(), what);
}

// Through host memory, since a split is rare: colors and keys are gathered on the device, and the
// lowest rank of each part hands NCCL's id to the others.
std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key) {
  const at::Tensor wish = at::zeros({2 + static_cast<std::int64_t>(sizeof(ncclUniqueId))},
                                    at::TensorOptions(at::kLong));
  auto* own = wish.mutable_data_ptr<std::int64_t>();
  own[0] = color;
  own[1] = key;
  ncclUniqueId id{};
  if (ncclGetUniqueId(&id) != ncclSuccess) {
    throw InternalError("NCCL transport: ncclGetUniqueId failed: " +
                        std::string(ncclGetLastError(nullptr)));
  }
  std::memcpy(own + 2, &id, sizeof(id));
  const at::Tensor gathered = on_device(wish.numel() * world_size(), at::kLong);
  all_gather(gathered, wish.to(gathered.device())).wait();
  const at::Tensor wishes = gathered.cpu();
  const auto of = [&](int r) { return wishes.const_data_ptr<std::int64_t>() + r * wish.numel(); };
  std::vector<int> part;
  for (int r = 0; r < world_size(); ++r) {
    if (color >= 0 && of(r)[0] == color) part.push_back(r);
  }
  if (part.empty()) return nullptr;
  std::stable_sort(part.begin(), part.end(), [&](int a, int b) { return of(a)[1] < of(b)[1]; });
  std::memcpy(&id, of(part[0]) + 2, sizeof(id));
  const auto place = std::find(part.begin(), part.end(), rank());
  return std::make_unique<NcclCommunicator>(id, static_cast<int>(place - part.begin()),
                                            static_cast<int>(part.size()), connection_->options());
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
