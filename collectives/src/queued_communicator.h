// The communicator of CPU transports: checks the tensors, describes the operation, queues it.
#ifndef MUSTER_COLLECTIVES_SRC_QUEUED_COMMUNICATOR_H_
#define MUSTER_COLLECTIVES_SRC_QUEUED_COMMUNICATOR_H_

#include <chrono>
#include <memory>
#include <vector>

#include "muster/collectives/communicator.h"
#include "operation_queue.h"

namespace muster::internal {

class QueuedCommunicator : public Communicator {
 public:
  QueuedCommunicator(int rank, int world_size, std::unique_ptr<Transport> transport,
                     std::chrono::milliseconds timeout);
  ~QueuedCommunicator() override;

  Work all_reduce(at::Tensor tensor, ReduceOp op) override;
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) override;
  Work all_gather(at::Tensor output, at::Tensor input) override;
  Work broadcast(at::Tensor tensor, int root) override;
  Work barrier() override;
  Work canonical_all_reduce(std::vector<at::Tensor> partials, const ReductionTree& tree) override;
  at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) override;

  /// Collective. The last operation. Blocks; false when not every rank came: some failed, or went
  /// on.
  bool leave_together() noexcept;

 private:
  Work submit(Operation operation, std::vector<at::Tensor> tensors);

  std::shared_ptr<OperationQueue> queue_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_QUEUED_COMMUNICATOR_H_
