// Sources, plans and outputs of the operations that do arithmetic.
#include <string>

#include "describe_operation.h"
#include "describe_parts.h"
#include "tensor_checks.h"

namespace muster::internal {
namespace {

struct Combination {
  Combine combine = Combine::kSum;
  DType dtype = DType::kFloat32;
  int divisor = 1;
};

Combine combine_of(ReduceOp op, bool is_bool) {
  switch (op) {
    case ReduceOp::kSum:
      return is_bool ? Combine::kBitOr : Combine::kSum;
    case ReduceOp::kAvg:
      return Combine::kSum;
    case ReduceOp::kMin:
      return is_bool ? Combine::kBitAnd : Combine::kMin;
    case ReduceOp::kMax:
      return is_bool ? Combine::kBitOr : Combine::kMax;
    case ReduceOp::kProduct:
      return is_bool ? Combine::kBitAnd : Combine::kProduct;
    case ReduceOp::kBitAnd:
      return Combine::kBitAnd;
    case ReduceOp::kBitOr:
      return Combine::kBitOr;
  }
  return Combine::kSum;
}

Combination combination_of(OperationKind kind, const Caller& caller, const at::Tensor& tensor,
                           ReduceOp op) {
  const DType dtype = check_reducible(kind, tensor, op);
  const bool is_bool = dtype == DType::kBool;  // of bytes 0 and 1
  return {combine_of(op, is_bool), is_bool ? DType::kUInt8 : dtype,
          op == ReduceOp::kAvg ? caller.world_size : 1};
}

void add_sources(Operation& operation, const SumOrder& order, const Combination& combination) {
  operation.plan = {combination.combine, combination.dtype, order.sources, order.additions,
                    combination.divisor};
  operation.sources_by_rank = order.sources_by_rank;
  operation.signature.combine = combination.combine;
  operation.signature.divisor = combination.divisor;
  operation.largest_part = operation.signature.numel;
}

// Every rank is a leaf of one tree, so that the bits hang on nothing but the ranks' number.
void add_sources_of_ranks(Operation& operation, const Caller& caller,
                          const Combination& combination) {
  add_sources(operation, caller.orders->of_ranks(), combination);
}

// Each source is a tensor of world_size slices.
void add_sliced_parts(Operation& operation, const Caller& caller, const at::Tensor& source) {
  operation.parts_per_block = caller.world_size;
  for (int r = 0; r < caller.world_size; ++r) {
    operation.parts.push_back(
        {bytes_of(source) + r * operation.part_bytes(), operation.signature.numel});
  }
}

void add_sources_of_subtrees(Operation& operation, const Caller& caller, DType dtype,
                             const ReductionTree& tree) {
  add_sources(operation, caller.orders->of(tree), {Combine::kSum, dtype, 1});
  operation.signature.logical_ranks = tree.logical_ranks();
}

DType check_partials(OperationKind kind, const Caller& caller,
                     const std::vector<at::Tensor>& partials, const ReductionTree& tree) {
  const std::vector<int>& by_rank = caller.orders->of(tree).sources_by_rank;
  const auto expected = static_cast<std::size_t>(by_rank[static_cast<std::size_t>(caller.rank)]);
  if (partials.size() != expected) {
    reject(kind,
           std::to_string(expected) +
               " partial sums, one for each maximal subtree of this rank's logical ranks",
           std::to_string(partials.size()), "see ReductionTree::maximal_subtrees");
  }
  for (const at::Tensor& partial : partials) {
    check_tensor(kind, partial, caller.device_type);
    check_same_dtype(kind, partials[0], partial);
    check_same_numel(kind, partials[0], partial);
  }
  return check_canonical(kind, partials[0]);
}

}  // namespace

Operation describe_all_reduce(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input, ReduceOp op) {
  constexpr auto kKind = OperationKind::kAllReduce;
  check_tensor(kKind, input, caller.device_type);
  check_output_like(kKind, output, input, caller.device_type);
  Operation operation;
  operation.signature = signature_of(kKind, input);
  add_sources_of_ranks(operation, caller, combination_of(kKind, caller, input, op));
  operation.parts = {part_of(input)};
  operation.output = bytes_of(output);
  return operation;
}

Operation describe_reduce(const Caller& caller, const at::Tensor& output, const at::Tensor& input,
                          int root, ReduceOp op) {
  constexpr auto kKind = OperationKind::kReduce;
  check_tensor(kKind, input, caller.device_type);
  check_root(kKind, root, caller.world_size);
  Operation operation;
  operation.signature = signature_of(kKind, input);
  operation.signature.root = root;
  add_sources_of_ranks(operation, caller, combination_of(kKind, caller, input, op));
  operation.parts = {part_of(input)};
  if (caller.rank != root) return operation;
  check_output_like(kKind, output, input, caller.device_type);
  operation.output = bytes_of(output);
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
  operation.signature = signature_of(kKind, output);
  add_sources_of_ranks(operation, caller, combination_of(kKind, caller, input, op));
  add_sliced_parts(operation, caller, input);
  operation.output = bytes_of(output);
  return operation;
}

Operation describe_canonical_all_reduce(const Caller& caller,
                                        const std::vector<at::Tensor>& partials,
                                        const ReductionTree& tree) {
  constexpr auto kKind = OperationKind::kCanonicalAllReduce;
  const DType dtype = check_partials(kKind, caller, partials, tree);
  for (std::size_t i = 1; i < partials.size(); ++i) check_apart(kKind, partials[0], partials[i]);
  Operation operation;
  operation.signature = signature_of(kKind, partials[0]);
  add_sources_of_subtrees(operation, caller, dtype, tree);
  for (const at::Tensor& partial : partials) operation.parts.push_back(part_of(partial));
  operation.output = bytes_of(partials[0]);
  return operation;
}

Operation describe_canonical_reduce_scatter(const Caller& caller, const at::Tensor& output,
                                            const std::vector<at::Tensor>& partials,
                                            const ReductionTree& tree) {
  constexpr auto kKind = OperationKind::kCanonicalReduceScatter;
  const DType dtype = check_partials(kKind, caller, partials, tree);
  check_tensor(kKind, output, caller.device_type);
  check_same_dtype(kKind, output, partials[0]);
  check_slice(kKind, output, partials[0], caller.rank, caller.world_size);
  for (std::size_t i = 1; i < partials.size(); ++i) check_apart(kKind, output, partials[i]);
  Operation operation;
  operation.signature = signature_of(kKind, output);
  add_sources_of_subtrees(operation, caller, dtype, tree);
  for (const at::Tensor& partial : partials) add_sliced_parts(operation, caller, partial);
  operation.output = bytes_of(output);
  return operation;
}

}  // namespace muster::internal
