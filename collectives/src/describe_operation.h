// From checked tensors to Operations, the same for every communicator.
#ifndef MUSTER_COLLECTIVES_SRC_DESCRIBE_OPERATION_H_
#define MUSTER_COLLECTIVES_SRC_DESCRIBE_OPERATION_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "muster/collectives/communicator.h"
#include "operation.h"

namespace muster::internal {

/// Who calls, and where tensors must be.
struct Caller {
  int rank = 0;
  int world_size = 1;
  at::DeviceType device_type = at::kCPU;
};

// Each checks its tensors (ConfigError) and describes the Communicator operation of its name.
Operation describe_all_reduce(const Caller& caller, const at::Tensor& tensor, ReduceOp op);
Operation describe_reduce_scatter(const Caller& caller, const at::Tensor& output,
                                  const at::Tensor& input, ReduceOp op);
Operation describe_all_gather(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input);
Operation describe_broadcast(const Caller& caller, const at::Tensor& tensor, int root);
Operation describe_barrier(const Caller& caller);
Operation describe_canonical_all_reduce(const Caller& caller,
                                        const std::vector<at::Tensor>& partials,
                                        const ReductionTree& tree);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DESCRIBE_OPERATION_H_
