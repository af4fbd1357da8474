// One call of one rank, as a transport sees it: what is to be done with which memory.
#ifndef MUSTER_COLLECTIVES_SRC_OPERATION_H_
#define MUSTER_COLLECTIVES_SRC_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/dtype.h"
#include "reduce_kernels.h"

namespace muster::internal {

enum class OperationKind : std::uint32_t {
  kBarrier = 1,
  kAllReduce = 2,
  kReduceScatter = 3,
  kAllGather = 4,
  kBroadcast = 5,
  kCanonicalAllReduce = 6,
  kLeave = 7,  ///< All ranks leave together.
};

/// "all_reduce", "barrier", ...
const char* operation_name(OperationKind kind);

/// What all ranks must agree on. Trivially copyable: ranks compare each other's.
struct Signature {
  OperationKind kind = OperationKind::kBarrier;
  Combine combine = Combine::kSum;
  std::uint32_t scalar_type = 0;  ///< at::ScalarType; any number does, as long as it is the same.
  std::uint32_t element_bytes = 1;
  std::int64_t numel = 0;  ///< Of what one rank contributes; for reduce_scatter, of the output.
  std::int32_t root = 0;   ///< broadcast only.
  std::int32_t logical_ranks = 0;  ///< canonical_all_reduce only.
  char dtype_name[16] = {};

  bool operator==(const Signature&) const = default;
  /// "all_reduce(sum, float32, 1024 elements)".
  std::string description() const;
};

/// The memory belongs to the caller, who keeps it alive until the operation has ended.
struct Operation {
  Signature signature;
  /// What this rank contributes, signature.numel elements each: the tensor; for reduce_scatter
  /// slice r of the input for each rank r; for canonical_all_reduce the partials; nothing for
  /// barrier.
  std::vector<const std::byte*> parts;
  /// Where the result goes: numel elements, for all_gather world_size times as many.
  std::byte* output = nullptr;
  /// Of a reduction: over all ranks' parts of one slice, in rank order.
  ReducePlan plan;
  /// Number of parts of each rank.
  std::vector<int> parts_by_rank;

  std::int64_t part_bytes() const { return signature.numel * signature.element_bytes; }
  int most_parts() const;
};

/// A contiguous range of elements.
struct ElementRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t numel() const { return end - begin; }
};

/// The slice of [0, numel) that `rank` reduces for all. Cut at multiples of 64 elements, so that
/// ranks do not write into one cache line; slices tile the range and may be empty.
ElementRange owned_slice(std::int64_t numel, int rank, int world_size);

/// The sources of the plan when rank r's part j lies at `part(r, j)`: those an all_reduce or
/// canonical_all_reduce combines, or for reduce_scatter those of this rank's slice.
template <typename Part>
std::vector<const std::byte*> plan_sources(const Operation& op, int rank, const Part& part) {
  std::vector<const std::byte*> sources;
  for (int r = 0; r < static_cast<int>(op.parts_by_rank.size()); ++r) {
    if (op.signature.kind == OperationKind::kReduceScatter) {
      sources.push_back(part(r, rank));
      continue;
    }
    for (int j = 0; j < op.parts_by_rank[static_cast<std::size_t>(r)]; ++j) {
      sources.push_back(part(r, j));
    }
  }
  return sources;
}

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_OPERATION_H_
