// From checked tensors to Operations, the same for every communicator.
#ifndef MUSTER_COLLECTIVES_SRC_DESCRIBE_OPERATION_H_
#define MUSTER_COLLECTIVES_SRC_DESCRIBE_OPERATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "muster/collectives/communicator.h"
#include "operation.h"
#include "sum_orders.h"

namespace muster::internal {

/// Who calls, and where tensors must be.
struct Caller {
  int rank = 0;
  int world_size = 1;
  at::DeviceType device_type = at::kCPU;
  SumOrders* orders = nullptr;  ///< Of this world size.
};

using Counts = std::vector<std::int64_t>;

// Each checks its tensors (ConfigError) and describes the Communicator operation of its name.
Operation describe_all_reduce(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input, ReduceOp op);
Operation describe_reduce(const Caller& caller, const at::Tensor& output, const at::Tensor& input,
                          int root, ReduceOp op);
Operation describe_reduce_scatter(const Caller& caller, const at::Tensor& output,
                                  const at::Tensor& input, ReduceOp op);
Operation describe_canonical_all_reduce(const Caller& caller,
                                        const std::vector<at::Tensor>& partials,
                                        const ReductionTree& tree);
Operation describe_canonical_reduce_scatter(const Caller& caller, const at::Tensor& output,
                                            const std::vector<at::Tensor>& partials,
                                            const ReductionTree& tree);

Operation describe_all_gather(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input);
Operation describe_all_gather(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input, const Counts& counts);
Operation describe_broadcast(const Caller& caller, const at::Tensor& tensor, int root);
Operation describe_scatter(const Caller& caller, const at::Tensor& output, const at::Tensor& input,
                           int root);
Operation describe_gather(const Caller& caller, const at::Tensor& output, const at::Tensor& input,
                          int root);
Operation describe_all_to_all(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input);
Operation describe_all_to_all(const Caller& caller, const at::Tensor& output,
                              const Counts& output_counts, const at::Tensor& input,
                              const Counts& input_counts);

Operation describe_send(const Caller& caller, const at::Tensor& tensor, int peer);
Operation describe_receive(const Caller& caller, const at::Tensor& tensor, int peer);

Operation describe_read(const at::Tensor& to, int from);

/// The first half of split(): `wishes` becomes every rank's `wish`.
Operation describe_wishes_of_split(const Caller& caller, const at::Tensor& wishes,
                                   const at::Tensor& wish);

/// barrier, leave and the second half of split.
Operation describe_meeting(OperationKind kind);
/// A meeting too. Throws ConfigError.
Operation describe_open_window(std::int64_t numel, at::ScalarType dtype);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DESCRIBE_OPERATION_H_
