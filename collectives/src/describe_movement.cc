// Parts, pulls and pushes of the operations that only move data.
#include <algorithm>
#include <numeric>
#include <string>

#include "describe_operation.h"
#include "describe_parts.h"
#include "muster/base/hash.h"
#include "tensor_checks.h"

namespace muster::internal {
namespace {

void push_to_all_others(Operation& operation, const Caller& caller) {
  for (int r = 0; r < caller.world_size; ++r) {
    if (r != caller.rank) operation.pushes.push_back({r, 0});
  }
}

// `whole` is cut into the counts, one part for each rank.
void add_parts_for_ranks(Operation& operation, const Caller& caller, const at::Tensor& whole,
                         const Counts& counts) {
  operation.parts_per_block = caller.world_size;
  std::int64_t begin = 0;
  for (int r = 0; r < caller.world_size; ++r) {
    const std::int64_t count = counts[static_cast<std::size_t>(r)];
    operation.parts.push_back({bytes_of(whole) + begin * operation.element_bytes(), count});
    if (r != caller.rank) operation.pushes.push_back({r, r});
    begin += count;
  }
}

// Part `part` of every rank goes to where `counts` puts that rank in `whole`.
void pull_from_all(Operation& operation, const Caller& caller, const at::Tensor& whole,
                   const Counts& counts, int part) {
  std::int64_t begin = 0;
  for (int r = 0; r < caller.world_size; ++r) {
    const std::int64_t count = counts[static_cast<std::size_t>(r)];
    operation.pulls.push_back(
        {r, part, count, bytes_of(whole) + begin * operation.element_bytes()});
    begin += count;
  }
}

Counts equal_counts(const Caller& caller, std::int64_t count) {
  return Counts(static_cast<std::size_t>(caller.world_size), count);
}

Operation describe_gathering(const Caller& caller, const at::Tensor& output,
                             const at::Tensor& input, const Counts& counts) {
  Operation operation;
  operation.signature = signature_of(OperationKind::kAllGather, input);
  operation.parts = {part_of(input)};
  operation.largest_part = *std::max_element(counts.begin(), counts.end());
  pull_from_all(operation, caller, output, counts, 0);
  push_to_all_others(operation, caller);
  return operation;
}

void check_exchange(const Caller& caller, const at::Tensor& output, const at::Tensor& input) {
  constexpr auto kKind = OperationKind::kAllToAll;
  check_tensor(kKind, output, caller.device_type);
  check_tensor(kKind, input, caller.device_type);
  check_same_dtype(kKind, output, input);
  check_apart(kKind, output, input);
}

// The other ranks' are compared once they meet.
void check_own_count(const Caller& caller, const Counts& output_counts,
                     const Counts& input_counts) {
  const auto own = static_cast<std::size_t>(caller.rank);
  if (input_counts[own] == output_counts[own]) return;
  const std::string index = "[" + std::to_string(caller.rank) + "]";
  reject(OperationKind::kAllToAll,
         "input_counts" + index + " = output_counts" + index + ", what this rank gives itself",
         std::to_string(input_counts[own]) + " and " + std::to_string(output_counts[own]),
         "correct the counts");
}

}  // namespace

Operation describe_all_gather(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input) {
  constexpr auto kKind = OperationKind::kAllGather;
  check_tensor(kKind, output, caller.device_type);
  check_tensor(kKind, input, caller.device_type);
  check_same_dtype(kKind, output, input);
  check_slice(kKind, input, output, caller.rank, caller.world_size);
  return describe_gathering(caller, output, input, equal_counts(caller, input.numel()));
}

Operation describe_all_gather(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input, const Counts& counts) {
  constexpr auto kKind = OperationKind::kAllGather;
  check_tensor(kKind, output, caller.device_type);
  check_tensor(kKind, input, caller.device_type);
  check_same_dtype(kKind, output, input);
  check_counts(kKind, "output", output, counts, caller.world_size);
  const std::int64_t own = counts[static_cast<std::size_t>(caller.rank)];
  if (input.numel() != own) {
    reject(kKind,
           "an input of counts[" + std::to_string(caller.rank) + "] = " + std::to_string(own) +
               " elements",
           std::to_string(input.numel()), "correct the counts");
  }
  const std::int64_t begin =
      std::accumulate(counts.begin(), counts.begin() + caller.rank, std::int64_t{0});
  check_within_or_apart(kKind, input, output, begin);
  Operation operation = describe_gathering(caller, output, input, counts);
  operation.signature.numel = output.numel();
  operation.signature.counts_hash =
      hash64_bytes(counts.data(), counts.size() * sizeof(counts[0])) | 1;  // 0: no counts
  return operation;
}

Operation describe_read(const at::Tensor& to, int from) {
  Operation operation;
  operation.signature = signature_of(OperationKind::kRead, to);
  operation.output = bytes_of(to);
  operation.peer = from;
  return operation;
}

Operation describe_wishes_of_split(const Caller& caller, const at::Tensor& wishes,
                                   const at::Tensor& wish) {
  Operation operation = describe_all_gather(caller, wishes, wish);
  operation.signature.kind = OperationKind::kSplit;
  return operation;
}

Operation describe_broadcast(const Caller& caller, const at::Tensor& tensor, int root) {
  constexpr auto kKind = OperationKind::kBroadcast;
  check_tensor(kKind, tensor, caller.device_type);
  check_root(kKind, root, caller.world_size);
  Operation operation;
  operation.signature = signature_of(kKind, tensor);
  operation.signature.root = root;
  operation.largest_part = tensor.numel();
  if (caller.rank == root) {
    operation.parts = {part_of(tensor)};
    push_to_all_others(operation, caller);
  } else {
    operation.pulls = {{root, 0, tensor.numel(), bytes_of(tensor)}};
  }
  return operation;
}

Operation describe_scatter(const Caller& caller, const at::Tensor& output, const at::Tensor& input,
                           int root) {
  constexpr auto kKind = OperationKind::kScatter;
  check_tensor(kKind, output, caller.device_type);
  check_root(kKind, root, caller.world_size);
  Operation operation;
  operation.signature = signature_of(kKind, output);
  operation.signature.root = root;
  operation.largest_part = output.numel();
  operation.parts_per_block = caller.world_size;
  if (caller.rank == root) {
    check_tensor(kKind, input, caller.device_type);
    check_same_dtype(kKind, output, input);
    check_slice(kKind, output, input, caller.rank, caller.world_size);
    add_parts_for_ranks(operation, caller, input, equal_counts(caller, output.numel()));
  }
  operation.pulls = {{root, caller.rank, output.numel(), bytes_of(output)}};
  return operation;
}

Operation describe_gather(const Caller& caller, const at::Tensor& output, const at::Tensor& input,
                          int root) {
  constexpr auto kKind = OperationKind::kGather;
  check_tensor(kKind, input, caller.device_type);
  check_root(kKind, root, caller.world_size);
  Operation operation;
  operation.signature = signature_of(kKind, input);
  operation.signature.root = root;
  operation.largest_part = input.numel();
  operation.parts = {part_of(input)};
  if (caller.rank != root) {
    operation.pushes = {{root, 0}};
    return operation;
  }
  check_tensor(kKind, output, caller.device_type);
  check_same_dtype(kKind, output, input);
  check_slice(kKind, input, output, caller.rank, caller.world_size);
  pull_from_all(operation, caller, output, equal_counts(caller, input.numel()), 0);
  return operation;
}

Operation describe_all_to_all(const Caller& caller, const at::Tensor& output,
                              const at::Tensor& input) {
  constexpr auto kKind = OperationKind::kAllToAll;
  check_exchange(caller, output, input);
  check_same_numel(kKind, output, input);
  if (input.numel() % caller.world_size != 0) {
    reject(kKind, "a multiple of " + std::to_string(caller.world_size) + " elements",
           std::to_string(input.numel()), "pad the tensors, or give counts");
  }
  const std::int64_t count = input.numel() / caller.world_size;
  Operation operation;
  operation.signature = signature_of(kKind, input);
  operation.largest_part = count;
  add_parts_for_ranks(operation, caller, input, equal_counts(caller, count));
  pull_from_all(operation, caller, output, equal_counts(caller, count), caller.rank);
  return operation;
}

Operation describe_all_to_all(const Caller& caller, const at::Tensor& output,
                              const Counts& output_counts, const at::Tensor& input,
                              const Counts& input_counts) {
  constexpr auto kKind = OperationKind::kAllToAll;
  check_exchange(caller, output, input);
  check_counts(kKind, "output", output, output_counts, caller.world_size);
  check_counts(kKind, "input", input, input_counts, caller.world_size);
  check_own_count(caller, output_counts, input_counts);
  Operation operation;
  operation.signature = signature_of(kKind, input);
  operation.signature.numel = -1;
  operation.largest_part = -1;
  add_parts_for_ranks(operation, caller, input, input_counts);
  pull_from_all(operation, caller, output, output_counts, caller.rank);
  return operation;
}

}  // namespace muster::internal
