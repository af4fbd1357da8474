// Parts, outputs and plans of each operation.
#include "describe_operation.h"

#include <cstring>
#include <string>

#include "tensor_checks.h"

namespace muster::internal {
namespace {

std::byte* bytes_of(const at::Tensor& tensor) { return static_cast<std::byte*>(tensor.data_ptr()); }

Combine combine_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMin:
      return Combine::kMin;
    case ReduceOp::kMax:
      return Combine::kMax;
    default:
      return Combine::kSum;
  }
}

Signature signature_of(OperationKind kind, const at::Tensor& tensor) {
  Signature signature;
  signature.kind = kind;
  signature.scalar_type = static_cast<std::uint32_t>(tensor.scalar_type());
  signature.element_bytes = static_cast<std::uint32_t>(tensor.element_size());
  signature.numel = tensor.numel();
  std::strncpy(signature.dtype_name, c10::toString(tensor.scalar_type()),
               sizeof(signature.dtype_name) - 1);
  return signature;
}

std::vector<int> same_on_all(const Caller& caller, int parts) {
  return std::vector<int>(static_cast<std::size_t>(caller.world_size), parts);
}

ReducePlan rank_order_plan(const Caller& caller, ReduceOp op, DType dtype) {
  return {combine_of(op), dtype, caller.world_size, left_to_right(caller.world_size)};
}

void check_count(const std::vector<at::Tensor>& partials, std::size_t expected) {
  if (partials.size() == expected) return;
  reject(OperationKind::kCanonicalAllReduce,
         std::to_string(expected) +
             " partial sums, one for each maximal subtree of this rank's "
             "logical ranks",
         std::to_string(partials.size()), "see ReductionTree::maximal_subtrees");
}

}  // namespace

Operation describe_all_reduce(const Caller& caller, const at::Tensor& tensor, ReduceOp op) {
  constexpr auto kKind = OperationKind::kAllReduce;
  check_tensor(kKind, tensor, caller.device_type);
  Operation operation;
  operation.plan = rank_order_plan(caller, op, check_reducible(kKind, tensor, false));
  operation.signature = signature_of(kKind, tensor);
  operation.signature.combine = combine_of(op);
  operation.parts = {bytes_of(tensor)};
  operation.output = bytes_of(tensor);
  operation.parts_by_rank = same_on_all(caller, 1);
  return operation;
}

Operation describe_reduce_scatter(const Caller& caller, const at::Tensor& output,
                                  const at::Tensor& input, ReduceOp op) {
  constexpr auto kKind = OperationKind::kReduceScatter;
  check_tensor(kKind, output, caller.device_type);
  check_tensor(kKind, input, caller.device_type);
  check_same_dtype(kKind, output, input);
  check_slice(kKind, output, input, caller.rank, caller.world_size);
  Operation operation;
  operation.plan = rank_order_plan(caller, op, check_reducible(kKind, output, false));
  operation.signature = signature_of(kKind, output);
  operation.signature.combine = combine_of(op);
  for (int r = 0; r < caller.world_size; ++r) {
    operation.parts.push_back(bytes_of(input) + r * operation.part_bytes());
  }
  operation.output = bytes_of(output);
  operation.parts_by_rank = same_on_all(caller, caller.world_size);
  return operation;
}

Operation describe_all_gather(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input) {
  constexpr auto kKind = OperationKind::kAllGather;
  check_tensor(kKind, output, caller.device_type);
  check_tensor(kKind, input, caller.device_type);
  check_same_dtype(kKind, output, input);
  check_slice(kKind, input, output, caller.rank, caller.world_size);
  Operation operation;
  operation.signature = signature_of(kKind, input);
  operation.parts = {bytes_of(input)};
  operation.output = bytes_of(output);
  operation.parts_by_rank = same_on_all(caller, 1);
  return operation;
}

Operation describe_broadcast(const Caller& caller, const at::Tensor& tensor, int root) {
  constexpr auto kKind = OperationKind::kBroadcast;
  check_tensor(kKind, tensor, caller.device_type);
  if (root < 0 || root >= caller.world_size) {
    reject(kKind, "a root in [0, " + std::to_string(caller.world_size) + ")", std::to_string(root),
           "name a rank of this world");
  }
  Operation operation;
  operation.signature = signature_of(kKind, tensor);
  operation.signature.root = root;
  if (caller.rank == root) operation.parts = {bytes_of(tensor)};
  operation.output = bytes_of(tensor);
  operation.parts_by_rank = same_on_all(caller, 0);
  operation.parts_by_rank[static_cast<std::size_t>(root)] = 1;
  return operation;
}

Operation describe_barrier(const Caller& caller) {
  Operation operation;
  operation.parts_by_rank = same_on_all(caller, 0);
  return operation;
}

Operation describe_canonical_all_reduce(const Caller& caller,
                                        const std::vector<at::Tensor>& partials,
                                        const ReductionTree& tree) {
  constexpr auto kKind = OperationKind::kCanonicalAllReduce;
  Operation operation;
  std::vector<LogicalRange> subtrees;
  for (const auto& of_rank : tree.subtrees_by_rank(caller.world_size)) {
    operation.parts_by_rank.push_back(static_cast<int>(of_rank.size()));
    subtrees.insert(subtrees.end(), of_rank.begin(), of_rank.end());
  }
  check_count(partials, static_cast<std::size_t>(
                            operation.parts_by_rank[static_cast<std::size_t>(caller.rank)]));
  for (const at::Tensor& partial : partials) {
    check_tensor(kKind, partial, caller.device_type);
    check_same_dtype(kKind, partials[0], partial);
    if (partial.numel() != partials[0].numel()) {
      reject(kKind, "partial sums with one number of elements",
             std::to_string(partials[0].numel()) + " and " + std::to_string(partial.numel()),
             "make them equal");
    }
    operation.parts.push_back(bytes_of(partial));
  }
  operation.plan = {Combine::kSum, check_reducible(kKind, partials[0], true),
                    static_cast<int>(subtrees.size()), tree.schedule(subtrees)};
  operation.signature = signature_of(kKind, partials[0]);
  operation.signature.logical_ranks = tree.logical_ranks();
  operation.output = bytes_of(partials[0]);
  return operation;
}

}  // namespace muster::internal
