// Every operation of a communicator in one form, for tests that do something to each of them.
#ifndef MUSTER_TESTS_COLLECTIVES_EVERY_OPERATION_H_
#define MUSTER_TESTS_COLLECTIVES_EVERY_OPERATION_H_

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "collectives/checks/operation_checks.h"
#include "muster/collectives/communicator.h"

namespace muster::testing {

/// What a call of any operation can be given; each takes what it has use for.
struct Call {
  Memory memory = Memory::kOrdinary;
  std::int64_t numel = 100;  ///< Of one rank's part.
  at::ScalarType dtype = at::kFloat;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;
  int peer = 1;                   ///< Of send and recv.
  int more_logical_ranks = 0;     ///< Of the canonical forms: beyond one for each rank.
  std::int64_t more_of_last = 0;  ///< Of operations with counts: beyond the last rank's `numel`.
};

struct AnyOperation {
  std::string name;  ///< As messages have it.
  std::function<Work(Communicator&, const Call&)> start;
  std::string variant = "";   ///< Of operations with one name.
  std::string answer = name;  ///< What the other side calls: its own name, but for transfers.

  std::string title() const { return variant.empty() ? name : name + " " + variant; }
  bool is_transfer() const { return answer != name; }
  bool is_canonical() const { return name.rfind("canonical", 0) == 0; }
  bool has_counts() const { return variant == "with counts"; }
  bool blocks() const { return name == "split" || name == "open_window"; }
  bool has_numel() const { return name != "barrier" && name != "split"; }
  bool has_data() const { return has_numel() && name != "open_window"; }
  bool has_root() const {
    return name == "reduce" || name == "broadcast" || name == "scatter" || name == "gather";
  }
  bool has_reduce_op() const {
    return name == "all_reduce" || name == "reduce" || name == "reduce_scatter";
  }
};

inline at::Tensor allocate(Communicator& communicator, const Call& call, std::int64_t numel) {
  return allocate(communicator, call.memory, numel, call.dtype);
}

inline std::vector<std::int64_t> counts_of(Communicator& communicator, const Call& call) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(communicator.world_size()), call.numel);
  counts.back() += call.more_of_last;
  return counts;
}

inline Work gather_counts(Communicator& c, const Call& call) {
  const auto counts = counts_of(c, call);
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  at::Tensor output = allocate(c, call, total);
  at::Tensor input = allocate(c, call, counts.back());
  return c.all_gather(output, input.narrow(0, 0, counts[static_cast<std::size_t>(c.rank())]),
                      counts);
}

inline Work exchange_counts(Communicator& c, const Call& call) {
  const auto counts = counts_of(c, call);
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  // What is given to the last rank is more, and what the last rank gets.
  std::vector<std::int64_t> output_counts(counts.size(), call.numel);
  if (c.rank() == c.world_size() - 1) {
    std::fill(output_counts.begin(), output_counts.end(), counts.back());
  }
  const std::int64_t got =
      std::accumulate(output_counts.begin(), output_counts.end(), std::int64_t{0});
  at::Tensor input = allocate(c, call, total);
  at::Tensor output = allocate(c, call, counts.back() * c.world_size()).narrow(0, 0, got);
  return c.all_to_all(output, output_counts, input, counts);
}

inline std::vector<at::Tensor> uninitialized_partials(Communicator& c, const Call& call,
                                                      std::int64_t numel,
                                                      const ReductionTree& tree) {
  const auto subtrees = tree.subtrees_by_rank(c.world_size());
  std::size_t most = 0;
  for (const auto& of_rank : subtrees) most = std::max(most, of_rank.size());
  std::vector<at::Tensor> partials;
  for (std::size_t i = 0; i < most; ++i) partials.push_back(allocate(c, call, numel));
  partials.resize(subtrees[static_cast<std::size_t>(c.rank())].size());
  return partials;
}

/// Those of Communicator, each under its name. Those that block are followed by a barrier.
inline std::vector<AnyOperation> every_operation() {
  std::vector<AnyOperation> all;
  all.push_back({"barrier", [](Communicator& c, const Call&) { return c.barrier(); }});
  all.push_back({"split", [](Communicator& c, const Call&) {
                   c.split(0, 0);
                   return c.barrier();
                 }});
  all.push_back({"open_window", [](Communicator& c, const Call& call) {
                   c.open_window(call.numel, call.dtype);
                   return c.barrier();
                 }});
  all.push_back({"all_reduce", [](Communicator& c, const Call& call) {
                   return c.all_reduce(allocate(c, call, call.numel), call.op);
                 }});
  all.push_back({"reduce", [](Communicator& c, const Call& call) {
                   at::Tensor output = allocate(c, call, call.numel);
                   return c.reduce(output, allocate(c, call, call.numel), call.root, call.op);
                 }});
  all.push_back({"reduce_scatter", [](Communicator& c, const Call& call) {
                   at::Tensor output = allocate(c, call, call.numel);
                   return c.reduce_scatter(output, allocate(c, call, call.numel * c.world_size()),
                                           call.op);
                 }});
  all.push_back({"all_gather", [](Communicator& c, const Call& call) {
                   at::Tensor output = allocate(c, call, call.numel * c.world_size());
                   return c.all_gather(output, allocate(c, call, call.numel));
                 }});
  all.push_back({"all_gather", gather_counts, "with counts"});
  all.push_back({"broadcast", [](Communicator& c, const Call& call) {
                   return c.broadcast(allocate(c, call, call.numel), call.root);
                 }});
  all.push_back({"scatter", [](Communicator& c, const Call& call) {
                   at::Tensor output = allocate(c, call, call.numel);
                   return c.scatter(output, allocate(c, call, call.numel * c.world_size()),
                                    call.root);
                 }});
  all.push_back({"gather", [](Communicator& c, const Call& call) {
                   at::Tensor output = allocate(c, call, call.numel * c.world_size());
                   return c.gather(output, allocate(c, call, call.numel), call.root);
                 }});
  all.push_back({"all_to_all", [](Communicator& c, const Call& call) {
                   at::Tensor output = allocate(c, call, call.numel * c.world_size());
                   return c.all_to_all(output, allocate(c, call, call.numel * c.world_size()));
                 }});
  all.push_back({"all_to_all", exchange_counts, "with counts"});
  all.push_back({"canonical_all_reduce", [](Communicator& c, const Call& call) {
                   const ReductionTree tree(c.world_size() + call.more_logical_ranks);
                   return c.canonical_all_reduce(uninitialized_partials(c, call, call.numel, tree),
                                                 tree);
                 }});
  all.push_back({"canonical_reduce_scatter", [](Communicator& c, const Call& call) {
                   const ReductionTree tree(c.world_size() + call.more_logical_ranks);
                   at::Tensor output = allocate(c, call, call.numel);
                   return c.canonical_reduce_scatter(
                       output, uninitialized_partials(c, call, call.numel * c.world_size(), tree),
                       tree);
                 }});
  all.push_back({"send",
                 [](Communicator& c, const Call& call) {
                   return c.send(allocate(c, call, call.numel), call.peer);
                 },
                 "", "recv"});
  all.push_back({"recv",
                 [](Communicator& c, const Call& call) {
                   return c.recv(allocate(c, call, call.numel), call.peer);
                 },
                 "", "send"});
  return all;
}

/// What the other side of `operation` calls.
inline AnyOperation answer_to(const AnyOperation& operation) {
  for (const AnyOperation& other : every_operation()) {
    if (other.name == operation.answer && other.variant == operation.variant) return other;
  }
  ADD_FAILURE() << "no answer to " << operation.title();
  return operation;
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_EVERY_OPERATION_H_
