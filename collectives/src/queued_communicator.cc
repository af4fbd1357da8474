// Describing and queueing; the transport does the rest.
#include "queued_communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <utility>

#include "describe_operation.h"
#include "muster/base/error.h"
#include "muster/base/log.h"

namespace muster::internal {

QueuedCommunicator::QueuedCommunicator(int rank, int world_size,
                                       std::unique_ptr<Transport> transport,
                                       std::chrono::milliseconds timeout)
    : Communicator(rank, world_size),
      queue_(OperationQueue::start(std::move(transport), timeout)) {}

QueuedCommunicator::~QueuedCommunicator() { queue_->stop(); }

Work QueuedCommunicator::submit(Operation operation, std::vector<at::Tensor> tensors) {
  return Work(queue_->submit(std::move(operation), std::move(tensors)));
}

Work QueuedCommunicator::all_reduce(at::Tensor tensor, ReduceOp op) {
  return submit(describe_all_reduce({rank(), world_size()}, tensor, op), {tensor});
}

Work QueuedCommunicator::reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) {
  return submit(describe_reduce_scatter({rank(), world_size()}, output, input, op),
                {output, input});
}

Work QueuedCommunicator::all_gather(at::Tensor output, at::Tensor input) {
  return submit(describe_all_gather({rank(), world_size()}, output, input), {output, input});
}

Work QueuedCommunicator::broadcast(at::Tensor tensor, int root) {
  return submit(describe_broadcast({rank(), world_size()}, tensor, root), {tensor});
}

Work QueuedCommunicator::barrier() { return submit(describe_barrier({rank(), world_size()}), {}); }

Work QueuedCommunicator::canonical_all_reduce(std::vector<at::Tensor> partials,
                                              const ReductionTree& tree) {
  Operation operation = describe_canonical_all_reduce({rank(), world_size()}, partials, tree);
  return submit(std::move(operation), std::move(partials));
}

bool QueuedCommunicator::leave_together() noexcept {
  try {
    Operation operation = describe_barrier({rank(), world_size()});
    operation.signature.kind = OperationKind::kLeave;
    submit(std::move(operation), {}).wait();
    return true;
  } catch (const std::exception& error) {
    MUSTER_LOG(WARNING) << "leaving alone: " << error.what();
    return false;
  }
}

at::Tensor QueuedCommunicator::allocate_symmetric(std::int64_t numel, at::ScalarType dtype) {
  if (numel < 0) {
    throw ConfigError("allocate_symmetric: expected a number of elements of at least 0, found " +
                      std::to_string(numel) + "; correct the size");
  }
  const at::TensorOptions options = at::TensorOptions().dtype(dtype).device(at::kCPU);
  if (numel == 0) return at::empty({0}, options);
  const auto bytes = numel * static_cast<std::int64_t>(c10::elementSize(dtype));
  std::shared_ptr<std::byte> memory = queue_->transport().allocate_symmetric(bytes);
  std::byte* data = memory.get();
  return at::from_blob(
      data, {numel}, [memory = std::move(memory)](void*) {}, options);
}

}  // namespace muster::internal
