// Names, descriptions and cuts of operations.
#include "operation.h"

#include <algorithm>

namespace muster::internal {
namespace {

const char* combine_name(Combine combine) {
  switch (combine) {
    case Combine::kMin:
      return "min";
    case Combine::kMax:
      return "max";
    default:
      return "sum";
  }
}

}  // namespace

const char* operation_name(OperationKind kind) {
  switch (kind) {
    case OperationKind::kBarrier:
      return "barrier";
    case OperationKind::kAllReduce:
      return "all_reduce";
    case OperationKind::kReduceScatter:
      return "reduce_scatter";
    case OperationKind::kAllGather:
      return "all_gather";
    case OperationKind::kBroadcast:
      return "broadcast";
    case OperationKind::kCanonicalAllReduce:
      return "canonical_all_reduce";
    case OperationKind::kLeave:
      return "leave";
  }
  return "unknown operation";
}

std::string Signature::description() const {
  std::string text = operation_name(kind);
  if (kind == OperationKind::kBarrier || kind == OperationKind::kLeave) return text + "()";
  text += "(";
  if (kind == OperationKind::kAllReduce || kind == OperationKind::kReduceScatter) {
    text += std::string(combine_name(combine)) + ", ";
  }
  text += std::string(dtype_name) + ", " + std::to_string(numel) + " elements";
  if (kind == OperationKind::kBroadcast) text += ", root " + std::to_string(root);
  if (kind == OperationKind::kCanonicalAllReduce) {
    text += ", " + std::to_string(logical_ranks) + " logical ranks";
  }
  return text + ")";
}

int Operation::most_parts() const {
  return parts_by_rank.empty() ? 0 : *std::max_element(parts_by_rank.begin(), parts_by_rank.end());
}

ElementRange owned_slice(std::int64_t numel, int rank, int world_size) {
  constexpr std::int64_t kGrain = 64;
  const std::int64_t grains = (numel + kGrain - 1) / kGrain;
  const auto cut = [&](int r) { return std::min(numel, grains * r / world_size * kGrain); };
  return {cut(rank), cut(rank + 1)};
}

}  // namespace muster::internal
