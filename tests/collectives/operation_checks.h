// Every operation on every dtype at sizes around block, page and chunk edges, against exact values.
// For any communicator.
#ifndef MUSTER_TESTS_COLLECTIVES_OPERATION_CHECKS_H_
#define MUSTER_TESTS_COLLECTIVES_OPERATION_CHECKS_H_

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster::testing {

inline const std::vector<at::ScalarType> kReducibleDtypes = {at::kFloat, at::kDouble, at::kBFloat16,
                                                             at::kLong};
inline const std::vector<std::int64_t> kSizes = {0, 1, 63, 64, 65, 1023, 4097, 1 << 18};

/// Where the tensors of a check lie.
enum class Memory { kOrdinary, kSymmetric };

inline at::Tensor allocate(Communicator& communicator, Memory memory, std::int64_t numel,
                           at::ScalarType dtype) {
  if (memory == Memory::kSymmetric) return communicator.allocate_symmetric(numel, dtype);
  return at::empty({numel}, at::TensorOptions().dtype(dtype));
}

/// Rank r's element i: small integers, so that sums over a few ranks are exact in every dtype.
inline at::Tensor rank_values(int rank, std::int64_t numel, at::ScalarType dtype) {
  return (at::remainder(at::arange(numel, at::kLong) * (2 * rank + 3), 23) - 7 + rank).to(dtype);
}

/// All ranks' values combined, computed in int64.
inline at::Tensor combined_values(int world_size, std::int64_t numel, at::ScalarType dtype,
                                  ReduceOp op) {
  at::Tensor result = rank_values(0, numel, at::kLong);
  for (int r = 1; r < world_size; ++r) {
    const at::Tensor values = rank_values(r, numel, at::kLong);
    if (op == ReduceOp::kSum) result = result + values;
    if (op == ReduceOp::kMin) result = at::minimum(result, values);
    if (op == ReduceOp::kMax) result = at::maximum(result, values);
  }
  return result.to(dtype);
}

inline std::string place(const char* operation, Communicator& communicator, Memory memory,
                         std::int64_t numel, at::ScalarType dtype) {
  return std::string(operation) + " on rank " + std::to_string(communicator.rank()) + " of " +
         std::to_string(communicator.world_size()) + ", " + c10::toString(dtype) + ", " +
         std::to_string(numel) + " elements, " +
         (memory == Memory::kSymmetric ? "symmetric" : "ordinary") + " memory";
}

inline void check_all_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
    at::Tensor tensor = allocate(communicator, memory, numel, dtype);
    tensor.copy_(rank_values(communicator.rank(), numel, dtype));
    communicator.all_reduce(tensor, op).wait();
    EXPECT_TRUE(at::equal(tensor, combined_values(communicator.world_size(), numel, dtype, op)))
        << place("all_reduce", communicator, memory, numel, dtype);
  }
}

inline void check_reduce_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                                 at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor input = allocate(communicator, memory, numel * world_size, dtype);
  const at::Tensor before = rank_values(communicator.rank(), numel * world_size, dtype);
  input.copy_(before);
  const at::Tensor own = input.narrow(0, communicator.rank() * numel, numel);
  at::Tensor output = in_place ? own : allocate(communicator, memory, numel, dtype);
  communicator.reduce_scatter(output, input).wait();
  const at::Tensor expected = combined_values(world_size, numel * world_size, dtype, ReduceOp::kSum)
                                  .narrow(0, communicator.rank() * numel, numel);
  EXPECT_TRUE(at::equal(output, expected))
      << place("reduce_scatter", communicator, memory, numel, dtype);
  if (!in_place) {
    EXPECT_TRUE(at::equal(input, before))
        << "input changed by " << place("reduce_scatter", communicator, memory, numel, dtype);
  }
}

inline void check_all_gather(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor output = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor input = in_place ? output.narrow(0, communicator.rank() * numel, numel)
                              : allocate(communicator, memory, numel, dtype);
  input.copy_(rank_values(communicator.rank(), numel, dtype));
  communicator.all_gather(output, input).wait();
  for (int r = 0; r < world_size; ++r) {
    EXPECT_TRUE(at::equal(output.narrow(0, r * numel, numel), rank_values(r, numel, dtype)))
        << place("all_gather", communicator, memory, numel, dtype) << ", slice " << r;
  }
}

inline void check_broadcast(Communicator& communicator, Memory memory, std::int64_t numel,
                            at::ScalarType dtype) {
  for (int root = 0; root < communicator.world_size(); ++root) {
    at::Tensor tensor = allocate(communicator, memory, numel, dtype);
    tensor.copy_(rank_values(communicator.rank(), numel, dtype));
    communicator.broadcast(tensor, root).wait();
    EXPECT_TRUE(at::equal(tensor, rank_values(root, numel, dtype)))
        << place("broadcast", communicator, memory, numel, dtype) << ", root " << root;
  }
}

/// Logical rank l's values, whose sum depends on the order in which it is taken.
inline at::Tensor logical_values(int logical_rank, std::int64_t numel, at::ScalarType dtype) {
  const at::Tensor index = at::arange(numel, at::kDouble);
  return ((index * 0.37 + logical_rank * 1.9).sin() * (1.0 + 1000.0 * (logical_rank % 3)))
      .to(dtype);
}

inline at::Tensor tree_sum(LogicalRange node, std::int64_t numel, at::ScalarType dtype) {
  if (node.size() == 1) return logical_values(node.begin, numel, dtype);
  const int middle = ReductionTree::split(node.begin, node.end);
  return tree_sum({node.begin, middle}, numel, dtype) + tree_sum({middle, node.end}, numel, dtype);
}

inline void check_canonical_all_reduce(Communicator& communicator, Memory memory,
                                       std::int64_t numel, at::ScalarType dtype,
                                       int logical_ranks) {
  const ReductionTree tree(logical_ranks);
  const LogicalRange hosted = assign_logical_ranks(
      logical_ranks, communicator.world_size())[static_cast<std::size_t>(communicator.rank())];
  std::vector<at::Tensor> partials;
  // Symmetric allocations must agree on all ranks, so each makes as many as the one with most
  // subtrees.
  std::size_t most = 0;
  for (const auto& subtrees : tree.subtrees_by_rank(communicator.world_size())) {
    most = std::max(most, subtrees.size());
  }
  std::vector<at::Tensor> buffers;
  for (std::size_t i = 0; i < most; ++i) {
    buffers.push_back(allocate(communicator, memory, numel, dtype));
  }
  for (const LogicalRange& subtree : tree.maximal_subtrees(hosted)) {
    at::Tensor partial = buffers[partials.size()];
    partial.copy_(tree_sum(subtree, numel, dtype));
    partials.push_back(partial);
  }
  communicator.canonical_all_reduce(partials, tree).wait();
  EXPECT_TRUE(at::equal(partials[0], tree_sum({0, logical_ranks}, numel, dtype)))
      << place("canonical_all_reduce", communicator, memory, numel, dtype) << ", " << logical_ranks
      << " logical ranks";
}

/// Many operations in flight, waited for in another order than issued.
inline void check_asynchronous(Communicator& communicator) {
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(at::full({i * 1000}, communicator.rank() + i, at::kFloat));
    works.push_back(communicator.all_reduce(tensors.back()));
  }
  for (int i = 19; i >= 0; --i) {
    works[static_cast<std::size_t>(i)].wait();
    EXPECT_TRUE(works[static_cast<std::size_t>(i)].done());
    const int world_size = communicator.world_size();
    const float expected = static_cast<float>(world_size * i + world_size * (world_size - 1) / 2);
    EXPECT_TRUE(at::equal(tensors[static_cast<std::size_t>(i)],
                          at::full({i * 1000}, expected, at::kFloat)));
  }
}

inline void check_all_operations(Communicator& communicator, at::ScalarType dtype) {
  for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
    for (const std::int64_t numel : kSizes) {
      check_all_reduce(communicator, memory, numel, dtype);
      for (const bool in_place : {false, true}) {
        check_reduce_scatter(communicator, memory, numel, dtype, in_place);
        check_all_gather(communicator, memory, numel, dtype, in_place);
      }
      check_broadcast(communicator, memory, numel, dtype);
      if (dtype == at::kBFloat16) continue;
      check_canonical_all_reduce(communicator, memory, numel, dtype, 7);
      if (numel > 5000) continue;  // the reference sums are slow
      check_canonical_all_reduce(communicator, memory, numel, dtype, 4);
      check_canonical_all_reduce(communicator, memory, numel, dtype, 5);
    }
  }
  for (const at::ScalarType bytes_only : {at::kByte, at::kBool, at::kHalf, at::kInt}) {
    check_all_gather(communicator, Memory::kOrdinary, 4097, bytes_only, false);
    check_broadcast(communicator, Memory::kOrdinary, 4097, bytes_only);
  }
  communicator.barrier().wait();
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_OPERATION_CHECKS_H_
