// What ranks contribute to operations, and what must come of it, exactly.
#ifndef MUSTER_TESTS_COLLECTIVES_CHECKS_EXACT_VALUES_H_
#define MUSTER_TESTS_COLLECTIVES_CHECKS_EXACT_VALUES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster::testing {

/// Where the tensors of a check lie.
enum class Memory { kOrdinary, kSymmetric };

at::Tensor allocate(Communicator& communicator, Memory memory, std::int64_t numel,
                    at::ScalarType dtype);

/// Rank r's element i: small integers, so that sums over a few ranks are exact in every dtype.
at::Tensor rank_values(int rank, std::int64_t numel, at::ScalarType dtype);

std::vector<ReduceOp> reduce_ops(at::ScalarType dtype);

/// All ranks' values combined: in int64, which is exact, and rounded or wrapped around at the end.
at::Tensor combined_values(int world_size, std::int64_t numel, at::ScalarType dtype, ReduceOp op);

/// What rank `from` gives rank `to`.
at::Tensor pair_values(int from, int to, std::int64_t numel, at::ScalarType dtype);

/// Logical rank l's values, whose sum depends on the order in which it is taken.
at::Tensor logical_values(int logical_rank, std::int64_t numel, at::ScalarType dtype);

at::Tensor tree_sum(LogicalRange node, std::int64_t numel, at::ScalarType dtype);

/// This rank's partial sums. Symmetric allocations must agree on all ranks, so each makes as many
/// as the one with most subtrees.
std::vector<at::Tensor> make_partials(Communicator& communicator, Memory memory, std::int64_t numel,
                                      at::ScalarType dtype, const ReductionTree& tree);

std::string place(const char* operation, Communicator& communicator, Memory memory,
                  std::int64_t numel, at::ScalarType dtype);

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_CHECKS_EXACT_VALUES_H_
