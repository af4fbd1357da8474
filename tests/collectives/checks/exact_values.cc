// Small integers, and sums in an order that shows.
#include "collectives/checks/exact_values.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace muster::testing {

at::Tensor allocate(Communicator& communicator, Memory memory, std::int64_t numel,
                    at::ScalarType dtype) {
  if (memory == Memory::kSymmetric) return communicator.allocate_symmetric(numel, dtype);
  return at::empty({numel}, at::TensorOptions().dtype(dtype));
}

namespace {

// What ranks have, and what becomes of it element by element, comes again after so many elements.
constexpr std::int64_t kPeriod = 23;

// By way of a longer piece: LibTorch copies piece by piece.
at::Tensor repeated(const at::Tensor& period, std::int64_t numel) {
  constexpr std::int64_t kPeriods = 1000;
  const std::int64_t periods = (numel + kPeriod - 1) / kPeriod;
  if (periods <= kPeriods) return period.repeat({periods}).narrow(0, 0, numel);
  const std::int64_t pieces = (periods + kPeriods - 1) / kPeriods;
  return period.repeat({kPeriods}).repeat({pieces}).narrow(0, 0, numel);
}

at::Tensor period_of(int rank, at::ScalarType dtype) {
  const at::Tensor values =
      at::remainder(at::arange(kPeriod, at::kLong) * (2 * rank + 3), kPeriod) - 7 + rank;
  return dtype == at::kBool ? at::remainder(values, 3).eq(0) : values.to(dtype);
}

}  // namespace

at::Tensor rank_values(int rank, std::int64_t numel, at::ScalarType dtype) {
  return repeated(period_of(rank, dtype), numel);
}

std::vector<ReduceOp> reduce_ops(at::ScalarType dtype) {
  std::vector<ReduceOp> ops = {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax, ReduceOp::kProduct};
  if (at::isFloatingType(dtype)) {
    ops.push_back(ReduceOp::kAvg);
  } else {
    ops.insert(ops.end(), {ReduceOp::kBitAnd, ReduceOp::kBitOr});
  }
  return ops;
}

at::Tensor combined_values(int world_size, std::int64_t numel, at::ScalarType dtype, ReduceOp op) {
  at::Tensor result = period_of(0, dtype).to(at::kLong);
  for (int r = 1; r < world_size; ++r) {
    const at::Tensor values = period_of(r, dtype).to(at::kLong);
    if (op == ReduceOp::kSum || op == ReduceOp::kAvg) result = result + values;
    if (op == ReduceOp::kMin) result = at::minimum(result, values);
    if (op == ReduceOp::kMax) result = at::maximum(result, values);
    if (op == ReduceOp::kProduct) result = result * values;
    if (op == ReduceOp::kBitAnd) result = at::bitwise_and(result, values);
    if (op == ReduceOp::kBitOr) result = at::bitwise_or(result, values);
  }
  if (op != ReduceOp::kAvg) return repeated(result.to(dtype), numel);
  const at::ScalarType wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  return repeated((result.to(wide) / world_size).to(dtype), numel);
}

at::Tensor pair_values(int from, int to, std::int64_t numel, at::ScalarType dtype) {
  return rank_values(7 * from + to, numel, dtype);
}

at::Tensor logical_values(int logical_rank, std::int64_t numel, at::ScalarType dtype) {
  const at::Tensor index = at::arange(numel, at::kDouble);
  return ((index * 0.37 + logical_rank * 1.9).sin() * (1.0 + 1000.0 * (logical_rank % 3)))
      .to(dtype);
}

at::Tensor tree_sum(LogicalRange node, std::int64_t numel, at::ScalarType dtype) {
  if (node.size() == 1) return logical_values(node.begin, numel, dtype);
  const int middle = ReductionTree::split(node.begin, node.end);
  return tree_sum({node.begin, middle}, numel, dtype) + tree_sum({middle, node.end}, numel, dtype);
}

std::vector<at::Tensor> make_partials(Communicator& communicator, Memory memory, std::int64_t numel,
                                      at::ScalarType dtype, const ReductionTree& tree) {
  std::size_t most = 0;
  for (const auto& subtrees : tree.subtrees_by_rank(communicator.world_size())) {
    most = std::max(most, subtrees.size());
  }
  std::vector<at::Tensor> partials;
  for (std::size_t i = 0; i < most; ++i) {
    partials.push_back(allocate(communicator, memory, numel, dtype));
  }
  const LogicalRange hosted = assign_logical_ranks(
      tree.logical_ranks(),
      communicator.world_size())[static_cast<std::size_t>(communicator.rank())];
  const std::vector<LogicalRange> subtrees = tree.maximal_subtrees(hosted);
  partials.resize(subtrees.size());
  for (std::size_t i = 0; i < subtrees.size(); ++i) {
    partials[i].copy_(tree_sum(subtrees[i], numel, dtype));
  }
  return partials;
}

std::string place(const char* operation, Communicator& communicator, Memory memory,
                  std::int64_t numel, at::ScalarType dtype) {
  return std::string(operation) + " on rank " + std::to_string(communicator.rank()) + " of " +
         std::to_string(communicator.world_size()) + ", " + c10::toString(dtype) + ", " +
         std::to_string(numel) + " elements, " +
         (memory == Memory::kSymmetric ? "symmetric" : "ordinary") + " memory";
}

}  // namespace muster::testing
