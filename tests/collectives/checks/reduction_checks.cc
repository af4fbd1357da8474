// Operations that combine what the ranks have.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "collectives/checks/operation_checks.h"

namespace muster::testing {
namespace {

/// Another for each number: the sizes around edges lead to all of them.
ReduceOp op_for(at::ScalarType dtype, std::int64_t number) {
  const std::vector<ReduceOp> ops = reduce_ops(dtype);
  return ops[static_cast<std::size_t>(number) % ops.size()];
}

}  // namespace

void check_all_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                      at::ScalarType dtype, bool in_place) {
  at::Tensor input = allocate(communicator, memory, numel, dtype);
  at::Tensor output = in_place ? input : allocate(communicator, memory, numel, dtype);
  const at::Tensor own = rank_values(communicator.rank(), numel, dtype);
  const std::vector<ReduceOp> all = reduce_ops(dtype);
  for (const ReduceOp op : in_place ? std::vector{op_for(dtype, numel)} : all) {
    input.copy_(own);
    communicator.all_reduce(output, input, op).wait();
    EXPECT_TRUE(at::equal(output, combined_values(communicator.world_size(), numel, dtype, op)))
        << place("all_reduce", communicator, memory, numel, dtype) << ", op "
        << static_cast<int>(op);
    if (!in_place) {
      EXPECT_TRUE(at::equal(input, own))
          << "input changed by " << place("all_reduce", communicator, memory, numel, dtype);
    }
  }
}

void check_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                  at::ScalarType dtype, bool in_place) {
  at::Tensor input = allocate(communicator, memory, numel, dtype);
  at::Tensor output = in_place ? input : allocate(communicator, memory, numel, dtype);
  const at::Tensor own = rank_values(communicator.rank(), numel, dtype);
  for (int root = 0; root < communicator.world_size(); ++root) {
    const ReduceOp op = op_for(dtype, numel + root + (in_place ? 1 : 0));
    const bool is_root = communicator.rank() == root;
    input.copy_(own);
    communicator.reduce(is_root ? output : at::Tensor(), input, root, op).wait();
    const at::Tensor expected = combined_values(communicator.world_size(), numel, dtype, op);
    if (is_root) {
      EXPECT_TRUE(at::equal(output, expected))
          << place("reduce", communicator, memory, numel, dtype) << ", root " << root << ", op "
          << static_cast<int>(op);
    }
    if (!is_root || !in_place) {
      EXPECT_TRUE(at::equal(input, own))
          << "input changed by " << place("reduce", communicator, memory, numel, dtype);
    }
  }
}

void check_reduce_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                          at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor input = allocate(communicator, memory, numel * world_size, dtype);
  const at::Tensor before = rank_values(communicator.rank(), numel * world_size, dtype);
  const at::Tensor own = input.narrow(0, communicator.rank() * numel, numel);
  at::Tensor output = in_place ? own : allocate(communicator, memory, numel, dtype);
  const ReduceOp op = op_for(dtype, numel + (in_place ? 1 : 0));
  input.copy_(before);
  communicator.reduce_scatter(output, input, op).wait();
  const at::Tensor expected = combined_values(world_size, numel * world_size, dtype, op)
                                  .narrow(0, communicator.rank() * numel, numel);
  EXPECT_TRUE(at::equal(output, expected))
      << place("reduce_scatter", communicator, memory, numel, dtype) << ", op "
      << static_cast<int>(op);
  if (!in_place) {
    EXPECT_TRUE(at::equal(input, before))
        << "input changed by " << place("reduce_scatter", communicator, memory, numel, dtype);
  }
}

void check_canonical_all_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                                at::ScalarType dtype, int logical_ranks) {
  const ReductionTree tree(logical_ranks);
  const auto partials = make_partials(communicator, memory, numel, dtype, tree);
  communicator.canonical_all_reduce(partials, tree).wait();
  EXPECT_TRUE(at::equal(partials[0], tree_sum({0, logical_ranks}, numel, dtype)))
      << place("canonical_all_reduce", communicator, memory, numel, dtype) << ", " << logical_ranks
      << " logical ranks";
}

void check_canonical_reduce_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                                    at::ScalarType dtype, int logical_ranks, bool in_place) {
  const ReductionTree tree(logical_ranks);
  const std::int64_t total = numel * communicator.world_size();
  const std::int64_t begin = numel * communicator.rank();
  const auto partials = make_partials(communicator, memory, total, dtype, tree);
  at::Tensor apart = allocate(communicator, memory, numel, dtype);
  at::Tensor output = in_place ? partials[0].narrow(0, begin, numel) : apart;
  communicator.canonical_reduce_scatter(output, partials, tree).wait();
  EXPECT_TRUE(at::equal(output, tree_sum({0, logical_ranks}, total, dtype).narrow(0, begin, numel)))
      << place("canonical_reduce_scatter", communicator, memory, numel, dtype) << ", "
      << logical_ranks << " logical ranks";
}

}  // namespace muster::testing
