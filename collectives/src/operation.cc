// Names, descriptions and cuts of operations.
#include "operation.h"

#include <algorithm>

#include "muster/base/check.h"

namespace muster::internal {
namespace {

// What is cut is cut at multiples of this many elements.
constexpr std::int64_t kGrain = 64;

const char* combine_name(const Signature& signature) {
  switch (signature.combine) {
    case Combine::kSum:
      return signature.divisor == 1 ? "sum" : "avg";
    case Combine::kMin:
      return "min";
    case Combine::kMax:
      return "max";
    case Combine::kProduct:
      return "product";
    case Combine::kBitAnd:
      return "bit_and";
    case Combine::kBitOr:
      return "bit_or";
  }
  return "unknown";
}

bool names_combination(OperationKind kind) {
  return kind == OperationKind::kAllReduce || kind == OperationKind::kReduce ||
         kind == OperationKind::kReduceScatter;
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
    case OperationKind::kReduce:
      return "reduce";
    case OperationKind::kScatter:
      return "scatter";
    case OperationKind::kGather:
      return "gather";
    case OperationKind::kAllToAll:
      return "all_to_all";
    case OperationKind::kCanonicalReduceScatter:
      return "canonical_reduce_scatter";
    case OperationKind::kSplit:
      return "split";
    case OperationKind::kSend:
      return "send";
    case OperationKind::kReceive:
      return "recv";
    case OperationKind::kRegroup:
      return "regroup";
    case OperationKind::kOpenWindow:
      return "open_window";
    case OperationKind::kRead:
      return "read";
  }
  return "unknown operation";
}

Flow flow_of(OperationKind kind) {
  switch (kind) {
    case OperationKind::kAllReduce:
    case OperationKind::kCanonicalAllReduce:
      return Flow::kReduceToAll;
    case OperationKind::kReduce:
      return Flow::kReduceToRoot;
    case OperationKind::kReduceScatter:
    case OperationKind::kCanonicalReduceScatter:
      return Flow::kReduceToSlot;
    case OperationKind::kAllGather:
    case OperationKind::kBroadcast:
    case OperationKind::kScatter:
    case OperationKind::kGather:
    case OperationKind::kAllToAll:
    case OperationKind::kSplit:
      return Flow::kPull;
    case OperationKind::kSend:
    case OperationKind::kReceive:
    case OperationKind::kRead:
      return Flow::kPeer;
    case OperationKind::kBarrier:
    case OperationKind::kLeave:
    case OperationKind::kRegroup:
    case OperationKind::kOpenWindow:
      return Flow::kNothing;
  }
  return Flow::kNothing;
}

const char* Signature::combination() const {
  return names_combination(kind) ? combine_name(*this) : "";
}

std::string Signature::description() const {
  std::string text = operation_name(kind);
  const bool only_meets = flow_of(kind) == Flow::kNothing && kind != OperationKind::kOpenWindow;
  if (only_meets || kind == OperationKind::kSplit) return text + "()";
  text += "(";
  if (names_combination(kind)) text += std::string(combine_name(*this)) + ", ";
  text += std::string(dtype_name) + ", ";
  text += numel < 0 ? "counts by rank" : std::to_string(numel) + " elements";
  if (counts_hash != 0) text += " in counts of hash " + std::to_string(counts_hash);
  if (root >= 0) text += ", root " + std::to_string(root);
  if (logical_ranks > 0) text += ", " + std::to_string(logical_ranks) + " logical ranks";
  return text + ")";
}

int Operation::most_parts(int world_size) const {
  switch (signature.kind) {
    case OperationKind::kAllGather:
    case OperationKind::kBroadcast:
    case OperationKind::kGather:
    case OperationKind::kSplit:
      return 1;
    case OperationKind::kScatter:
    case OperationKind::kAllToAll:
      return world_size;
    default:
      break;
  }
  if (sources_by_rank.empty()) return 0;
  const int sources = *std::max_element(sources_by_rank.begin(), sources_by_rank.end());
  return flow() == Flow::kReduceToSlot ? sources * world_size : sources;
}

bool Operation::gets_result(int rank) const {
  return flow() == Flow::kReduceToAll || (flow() == Flow::kReduceToRoot && rank == signature.root);
}

std::int64_t staged_numel(std::int64_t bytes, int parts, std::int64_t element_bytes) {
  const std::int64_t most = bytes / parts / element_bytes;
  MUSTER_CHECK_GE(most, 1);
  return most >= kGrain ? most / kGrain * kGrain : most;
}

ElementRange owned_slice(std::int64_t numel, int rank, int world_size) {
  const std::int64_t grains = (numel + kGrain - 1) / kGrain;
  const auto cut = [&](int r) { return std::min(numel, grains * r / world_size * kGrain); };
  return {cut(rank), cut(rank + 1)};
}

}  // namespace muster::internal
