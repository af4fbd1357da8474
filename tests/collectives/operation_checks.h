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

inline const std::vector<at::ScalarType> kReducibleDtypes = {
    at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kChar,
    at::kShort, at::kInt,    at::kLong, at::kByte,     at::kBool};
inline constexpr std::int64_t kLargeSize = 1 << 18;  // many chunks

/// Sizes around vector, page and chunk edges; fewer for the rarer dtypes.
inline std::vector<std::int64_t> sizes_for(at::ScalarType dtype) {
  if (dtype == at::kFloat) return {0, 1, 63, 64, 65, 1023, 4097, kLargeSize};
  if (dtype == at::kBFloat16 || dtype == at::kDouble) return {0, 1, 65, 4097};
  return {1, 65, 4097};
}

/// Where the tensors of a check lie.
enum class Memory { kOrdinary, kSymmetric };

inline at::Tensor allocate(Communicator& communicator, Memory memory, std::int64_t numel,
                           at::ScalarType dtype) {
  if (memory == Memory::kSymmetric) return communicator.allocate_symmetric(numel, dtype);
  return at::empty({numel}, at::TensorOptions().dtype(dtype));
}

/// Rank r's element i: small integers, so that sums over a few ranks are exact in every dtype.
inline at::Tensor rank_values(int rank, std::int64_t numel, at::ScalarType dtype) {
  const at::Tensor values =
      at::remainder(at::arange(numel, at::kLong) * (2 * rank + 3), 23) - 7 + rank;
  return dtype == at::kBool ? at::remainder(values, 3).eq(0) : values.to(dtype);
}

inline std::vector<ReduceOp> reduce_ops(at::ScalarType dtype) {
  std::vector<ReduceOp> ops = {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax, ReduceOp::kProduct};
  if (at::isFloatingType(dtype)) {
    ops.push_back(ReduceOp::kAvg);
  } else {
    ops.insert(ops.end(), {ReduceOp::kBitAnd, ReduceOp::kBitOr});
  }
  return ops;
}

/// All ranks' values combined: in int64, which is exact, and rounded or wrapped around at the end.
inline at::Tensor combined_values(int world_size, std::int64_t numel, at::ScalarType dtype,
                                  ReduceOp op) {
  at::Tensor result = rank_values(0, numel, dtype).to(at::kLong);
  for (int r = 1; r < world_size; ++r) {
    const at::Tensor values = rank_values(r, numel, dtype).to(at::kLong);
    if (op == ReduceOp::kSum || op == ReduceOp::kAvg) result = result + values;
    if (op == ReduceOp::kMin) result = at::minimum(result, values);
    if (op == ReduceOp::kMax) result = at::maximum(result, values);
    if (op == ReduceOp::kProduct) result = result * values;
    if (op == ReduceOp::kBitAnd) result = at::bitwise_and(result, values);
    if (op == ReduceOp::kBitOr) result = at::bitwise_or(result, values);
  }
  if (op != ReduceOp::kAvg) return result.to(dtype);
  const at::ScalarType wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  return (result.to(wide) / world_size).to(dtype);
}

inline std::string place(const char* operation, Communicator& communicator, Memory memory,
                         std::int64_t numel, at::ScalarType dtype) {
  return std::string(operation) + " on rank " + std::to_string(communicator.rank()) + " of " +
         std::to_string(communicator.world_size()) + ", " + c10::toString(dtype) + ", " +
         std::to_string(numel) + " elements, " +
         (memory == Memory::kSymmetric ? "symmetric" : "ordinary") + " memory";
}

inline void check_all_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype, bool in_place) {
  at::Tensor input = allocate(communicator, memory, numel, dtype);
  at::Tensor output = in_place ? input : allocate(communicator, memory, numel, dtype);
  const at::Tensor own = rank_values(communicator.rank(), numel, dtype);
  for (const ReduceOp op : reduce_ops(dtype)) {
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

inline void check_reduce(Communicator& communicator, Memory memory, std::int64_t numel,
                         at::ScalarType dtype, bool in_place) {
  at::Tensor input = allocate(communicator, memory, numel, dtype);
  at::Tensor output = in_place ? input : allocate(communicator, memory, numel, dtype);
  const at::Tensor own = rank_values(communicator.rank(), numel, dtype);
  const ReduceOp op = ReduceOp::kMax;
  for (int root = 0; root < communicator.world_size(); ++root) {
    const bool is_root = communicator.rank() == root;
    input.copy_(own);
    communicator.reduce(is_root ? output : at::Tensor(), input, root, op).wait();
    const at::Tensor expected = combined_values(communicator.world_size(), numel, dtype, op);
    if (is_root) {
      EXPECT_TRUE(at::equal(output, expected))
          << place("reduce", communicator, memory, numel, dtype) << ", root " << root;
    }
    if (!is_root || !in_place) {
      EXPECT_TRUE(at::equal(input, own))
          << "input changed by " << place("reduce", communicator, memory, numel, dtype);
    }
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

/// Rank r contributes r + 1 shares of `numel` elements, and rank 1 none.
inline void check_all_gather_counts(Communicator& communicator, Memory memory, std::int64_t numel,
                                    at::ScalarType dtype) {
  std::vector<std::int64_t> counts;
  std::int64_t total = 0;
  std::int64_t most = 0;
  for (int r = 0; r < communicator.world_size(); ++r) {
    counts.push_back(r == 1 ? 0 : (r + 1) * numel);
    total += counts.back();
    most = std::max(most, counts.back());
  }
  at::Tensor output = allocate(communicator, memory, total, dtype);
  const std::int64_t own = counts[static_cast<std::size_t>(communicator.rank())];
  at::Tensor input = allocate(communicator, memory, most, dtype).narrow(0, 0, own);
  input.copy_(rank_values(communicator.rank(), own, dtype));
  communicator.all_gather(output, input, counts).wait();
  std::int64_t begin = 0;
  for (int r = 0; r < communicator.world_size(); ++r) {
    const std::int64_t count = counts[static_cast<std::size_t>(r)];
    EXPECT_TRUE(at::equal(output.narrow(0, begin, count), rank_values(r, count, dtype)))
        << place("all_gather", communicator, memory, numel, dtype) << ", counts, slice " << r;
    begin += count;
  }
}

inline void check_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                          at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor whole = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor apart = allocate(communicator, memory, numel, dtype);
  for (int root = 0; root < world_size; ++root) {
    const bool is_root = communicator.rank() == root;
    whole.copy_(rank_values(root, numel * world_size, dtype));
    at::Tensor output = in_place ? whole.narrow(0, communicator.rank() * numel, numel) : apart;
    if (!is_root) output.zero_();
    communicator.scatter(output, is_root ? whole : at::Tensor(), root).wait();
    EXPECT_TRUE(at::equal(
        output,
        rank_values(root, numel * world_size, dtype).narrow(0, communicator.rank() * numel, numel)))
        << place("scatter", communicator, memory, numel, dtype) << ", root " << root;
  }
}

inline void check_gather(Communicator& communicator, Memory memory, std::int64_t numel,
                         at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor whole = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor apart = allocate(communicator, memory, numel, dtype);
  for (int root = 0; root < world_size; ++root) {
    const bool is_root = communicator.rank() == root;
    whole.zero_();
    at::Tensor input = in_place ? whole.narrow(0, communicator.rank() * numel, numel) : apart;
    input.copy_(rank_values(communicator.rank(), numel, dtype));
    communicator.gather(is_root ? whole : at::Tensor(), input, root).wait();
    for (int r = 0; is_root && r < world_size; ++r) {
      EXPECT_TRUE(at::equal(whole.narrow(0, r * numel, numel), rank_values(r, numel, dtype)))
          << place("gather", communicator, memory, numel, dtype) << ", slice " << r;
    }
  }
}

/// What rank `from` gives rank `to`.
inline at::Tensor pair_values(int from, int to, std::int64_t numel, at::ScalarType dtype) {
  return rank_values(7 * from + to, numel, dtype);
}

inline void check_all_to_all(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype) {
  const int world_size = communicator.world_size();
  const int rank = communicator.rank();
  at::Tensor input = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor output = allocate(communicator, memory, numel * world_size, dtype);
  for (int r = 0; r < world_size; ++r) {
    input.narrow(0, r * numel, numel).copy_(pair_values(rank, r, numel, dtype));
  }
  communicator.all_to_all(output, input).wait();
  for (int r = 0; r < world_size; ++r) {
    EXPECT_TRUE(at::equal(output.narrow(0, r * numel, numel), pair_values(r, rank, numel, dtype)))
        << place("all_to_all", communicator, memory, numel, dtype) << ", slice " << r;
  }
}

/// Rank s gives rank r (s + 2 r) % 4 shares of `numel` elements.
inline void check_all_to_all_counts(Communicator& communicator, Memory memory, std::int64_t numel,
                                    at::ScalarType dtype) {
  const int world_size = communicator.world_size();
  const int rank = communicator.rank();
  const auto count = [&](int from, int to) { return (from + 2 * to) % 4 * numel; };
  std::vector<std::int64_t> input_counts, output_counts;
  std::int64_t inputs = 0, outputs = 0;
  for (int r = 0; r < world_size; ++r) {
    input_counts.push_back(count(rank, r));
    output_counts.push_back(count(r, rank));
    inputs += input_counts.back();
    outputs += output_counts.back();
  }
  const std::int64_t most = 3 * world_size * numel;
  at::Tensor input = allocate(communicator, memory, most, dtype).narrow(0, 0, inputs);
  at::Tensor output = allocate(communicator, memory, most, dtype).narrow(0, 0, outputs);
  for (std::int64_t r = 0, begin = 0; r < world_size; begin += count(rank, static_cast<int>(r++))) {
    const int to = static_cast<int>(r);
    input.narrow(0, begin, count(rank, to)).copy_(pair_values(rank, to, count(rank, to), dtype));
  }
  communicator.all_to_all(output, output_counts, input, input_counts).wait();
  for (std::int64_t r = 0, begin = 0; r < world_size; begin += count(static_cast<int>(r++), rank)) {
    const int from = static_cast<int>(r);
    EXPECT_TRUE(at::equal(output.narrow(0, begin, count(from, rank)),
                          pair_values(from, rank, count(from, rank), dtype)))
        << place("all_to_all", communicator, memory, numel, dtype) << ", counts, from " << r;
  }
}

/// Everybody to everybody, all in flight together, two each.
inline void check_send_and_recv(Communicator& communicator, Memory memory, std::int64_t numel,
                                at::ScalarType dtype) {
  const int rank = communicator.rank();
  std::vector<at::Tensor> received;
  std::vector<Work> works;
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    for (const int number : {0, 1}) {
      at::Tensor sent = allocate(communicator, memory, numel + number, dtype);
      received.push_back(allocate(communicator, memory, numel + number, dtype));
      if (peer == rank) continue;
      sent.copy_(pair_values(rank, peer + number, numel + number, dtype));
      works.push_back(communicator.send(sent, peer));
      works.push_back(communicator.recv(received.back(), peer));
    }
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) work->wait();
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    for (const int number : {0, 1}) {
      if (peer == rank) continue;
      EXPECT_TRUE(at::equal(received[static_cast<std::size_t>(2 * peer + number)],
                            pair_values(peer, rank + number, numel + number, dtype)))
          << place("recv", communicator, memory, numel, dtype) << ", from " << peer;
    }
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

/// This rank's partial sums. Symmetric allocations must agree on all ranks, so each makes as many
/// as the one with most subtrees.
inline std::vector<at::Tensor> make_partials(Communicator& communicator, Memory memory,
                                             std::int64_t numel, at::ScalarType dtype,
                                             const ReductionTree& tree) {
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

inline void check_canonical_all_reduce(Communicator& communicator, Memory memory,
                                       std::int64_t numel, at::ScalarType dtype,
                                       int logical_ranks) {
  const ReductionTree tree(logical_ranks);
  const auto partials = make_partials(communicator, memory, numel, dtype, tree);
  communicator.canonical_all_reduce(partials, tree).wait();
  EXPECT_TRUE(at::equal(partials[0], tree_sum({0, logical_ranks}, numel, dtype)))
      << place("canonical_all_reduce", communicator, memory, numel, dtype) << ", " << logical_ranks
      << " logical ranks";
}

inline void check_canonical_reduce_scatter(Communicator& communicator, Memory memory,
                                           std::int64_t numel, at::ScalarType dtype,
                                           int logical_ranks, bool in_place) {
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

/// Neighbours, and odd and even ranks in reverse order, in two communicators beside the whole.
inline void check_split(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const auto parity = communicator.split(rank % 2, -rank);
  const auto few = communicator.split(rank < 2 ? 7 : -1, 0);
  ASSERT_NE(parity, nullptr);
  EXPECT_EQ(few != nullptr, rank < 2);
  const int members = (world_size + (rank % 2 == 0 ? 1 : 0)) / 2;
  EXPECT_EQ(parity->world_size(), members);
  EXPECT_EQ(parity->rank(), members - 1 - rank / 2);

  // In flight on all three at once.
  at::Tensor of_all = at::full({100000}, rank, at::kLong);
  at::Tensor of_parity = parity->allocate_symmetric(50000, at::kLong).fill_(rank);
  at::Tensor of_few = at::full({10}, rank + 1, at::kLong);
  std::vector<Work> works = {communicator.all_reduce(of_all), parity->all_reduce(of_parity)};
  if (few) works.push_back(few->all_reduce(of_few));
  for (Work& work : works) work.wait();
  std::int64_t parity_sum = 0;
  for (int r = rank % 2; r < world_size; r += 2) parity_sum += r;
  EXPECT_TRUE(of_all.eq(world_size * (world_size - 1) / 2).all().item<bool>());
  EXPECT_TRUE(of_parity.eq(parity_sum).all().item<bool>());
  if (few) {
    EXPECT_TRUE(of_few.eq(few->world_size() == 2 ? 3 : 1).all().item<bool>());
  }

  const auto alone = parity->split(parity->rank(), 0);
  EXPECT_EQ(alone->world_size(), 1);
  alone->barrier().wait();
}

/// Reductions in `dtype` and movements of it, at sizes around the edges.
inline void check_operations_at(Communicator& communicator, Memory memory, std::int64_t numel,
                                at::ScalarType dtype) {
  for (const bool in_place : {false, true}) {
    check_all_reduce(communicator, memory, numel, dtype, in_place);
    check_reduce(communicator, memory, numel, dtype, in_place);
    check_reduce_scatter(communicator, memory, numel, dtype, in_place);
    check_all_gather(communicator, memory, numel, dtype, in_place);
    check_scatter(communicator, memory, numel, dtype, in_place);
    check_gather(communicator, memory, numel, dtype, in_place);
  }
  check_all_gather_counts(communicator, memory, numel, dtype);
  check_broadcast(communicator, memory, numel, dtype);
  check_all_to_all(communicator, memory, numel, dtype);
  check_all_to_all_counts(communicator, memory, numel, dtype);
  check_send_and_recv(communicator, memory, numel, dtype);
}

inline void check_canonical_at(Communicator& communicator, Memory memory, std::int64_t numel,
                               at::ScalarType dtype, int logical_ranks) {
  check_canonical_all_reduce(communicator, memory, numel, dtype, logical_ranks);
  for (const bool in_place : {false, true}) {
    check_canonical_reduce_scatter(communicator, memory, numel / 4, dtype, logical_ranks, in_place);
  }
}

inline void check_all_operations(Communicator& communicator, at::ScalarType dtype) {
  const bool canonical = dtype == at::kFloat || dtype == at::kDouble || dtype == at::kLong;
  for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
    for (const std::int64_t numel : sizes_for(dtype)) {
      check_operations_at(communicator, memory, numel, dtype);
      if (!canonical) continue;
      check_canonical_at(communicator, memory, numel, dtype, 7);
      if (numel == kLargeSize) continue;  // the reference sums are slow
      check_canonical_at(communicator, memory, numel, dtype, 4);
      check_canonical_at(communicator, memory, numel, dtype, 5);
    }
  }
  communicator.barrier().wait();
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_OPERATION_CHECKS_H_
