// The communicator of all transports: checks the tensors, describes the operation, queues it.
#ifndef MUSTER_COLLECTIVES_SRC_QUEUED_COMMUNICATOR_H_
#define MUSTER_COLLECTIVES_SRC_QUEUED_COMMUNICATOR_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "describe_operation.h"
#include "muster/collectives/communicator.h"
#include "operation_queue.h"
#include "owner_process.h"

namespace muster::internal {

class QueuedCommunicator : public Communicator {
 public:
  /// `name` is that of messages, but for the generation of one that shrink() made; "" for the
  /// world's. Operations are recorded in `flight`. Tensors are on `device`.
  QueuedCommunicator(int rank, int world_size, std::unique_ptr<Transport> transport,
                     const std::string& name, std::chrono::milliseconds timeout,
                     FlightLane flight = {}, CommunicatorOrigin origin = {},
                     at::Device device = at::kCPU);
  ~QueuedCommunicator() override;

  using Communicator::all_reduce;
  Work all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) override;
  Work reduce(at::Tensor output, at::Tensor input, int root, ReduceOp op) override;
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) override;
  Work all_gather(at::Tensor output, at::Tensor input) override;
  Work all_gather(at::Tensor output, at::Tensor input,
                  const std::vector<std::int64_t>& counts) override;
  Work broadcast(at::Tensor tensor, int root) override;
  Work scatter(at::Tensor output, at::Tensor input, int root) override;
  Work gather(at::Tensor output, at::Tensor input, int root) override;
  Work all_to_all(at::Tensor output, at::Tensor input) override;
  Work all_to_all(at::Tensor output, const std::vector<std::int64_t>& output_counts,
                  at::Tensor input, const std::vector<std::int64_t>& input_counts) override;
  Work send(at::Tensor tensor, int peer) override;
  Work recv(at::Tensor tensor, int peer) override;
  Work barrier() override;
  Work canonical_all_reduce(std::vector<at::Tensor> partials, const ReductionTree& tree) override;
  Work canonical_reduce_scatter(at::Tensor output, std::vector<at::Tensor> partials,
                                const ReductionTree& tree) override;
  std::vector<int> ranks_sharing_memory() const override;
  at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) override;
  at::Tensor allocate_shared(std::int64_t numel, at::ScalarType dtype) override;
  std::unique_ptr<Window> open_window(std::int64_t numel, at::ScalarType dtype) override;
  std::unique_ptr<Communicator> split(int color, int key) override;
  std::unique_ptr<Communicator> shrink(std::chrono::milliseconds deadline) override {
    return regroup(deadline, Regrouping::kShrink);
  }
  std::unique_ptr<Communicator> replace(std::chrono::milliseconds deadline) override {
    return regroup(deadline, Regrouping::kReplace);
  }
  void abort(const std::string& reason) override;

  /// What the flight recorder calls a generation of the communicator `base_name`.
  static std::string flight_name(const std::string& base_name, int generation);

  /// Collective. The first operation of the next generation. Returns `next`, or where another rank
  /// was lost meanwhile the generation in which all have met. Blocks; throws as shrink() and
  /// replace() do.
  static std::unique_ptr<QueuedCommunicator> meet(std::unique_ptr<QueuedCommunicator> next,
                                                  std::chrono::milliseconds deadline,
                                                  Regrouping how);

  /// Makes a transport out of one of the same ranks for host memory, which is its own. Collective;
  /// the run is that of the communicator's making.
  using Rewiring = std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport> host,
                                                            const OperationRun&)>;

  /// Of each operation.
  std::chrono::milliseconds timeout() const { return timeout_; }

  /// Collective. Blocks. The same ranks once more, for tensors on `device`: lives on its own, as
  /// parts that split() makes do.
  std::unique_ptr<QueuedCommunicator> on_device(at::Device device,
                                                std::chrono::milliseconds timeout,
                                                const Rewiring& rewire);

  /// Collective. The last operation. Blocks; false when not every rank came: some failed, or went
  /// on.
  bool leave_together() noexcept;

 private:
  Caller caller() { return {rank(), world_size(), device_.type(), &orders_}; }
  Work submit(Operation operation, std::vector<at::Tensor> tensors);
  void check_device(const Operation& operation, const std::vector<at::Tensor>& tensors) const;
  std::string part_name(int color);
  std::unique_ptr<Communicator> regroup(std::chrono::milliseconds deadline, Regrouping how);
  /// Of ranks that have yet to meet. `ranks` are those of this communicator in the one that
  /// regroup() was called on.
  std::unique_ptr<QueuedCommunicator> next_generation(std::chrono::milliseconds deadline,
                                                      Regrouping how,
                                                      const std::vector<int>& ranks);
  bool all_meet(std::chrono::milliseconds deadline);

  const std::string base_name_;
  const std::string name_;
  const std::chrono::milliseconds timeout_;
  const FlightLane flight_;
  const at::Device device_;
  const OwnerProcess owner_;
  SumOrders orders_;
  int splits_ = 0;
  std::shared_ptr<OperationQueue> queue_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_QUEUED_COMMUNICATOR_H_
