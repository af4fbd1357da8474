// One call of one rank, as a transport sees it: what is to be done with which memory.
#ifndef MUSTER_COLLECTIVES_SRC_OPERATION_H_
#define MUSTER_COLLECTIVES_SRC_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
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
  kReduce = 8,
  kScatter = 9,
  kGather = 10,
  kAllToAll = 11,
  kCanonicalReduceScatter = 12,
  kSplit =
      13,  ///< Ranks tell each other what they wish, and make the parts: one call, two of these.
  kSend = 14,
  kReceive = 15,
  kRegroup = 16,  ///< The members of the next generation meet.
  kOpenWindow = 17,
  kRead = 18,  ///< From another rank's window.
};

/// "all_reduce", "barrier", ...
const char* operation_name(OperationKind kind);

/// Where the data of an operation go.
enum class Flow {
  kNothing,       ///< Ranks only meet.
  kReduceToAll,   ///< The combination of all ranks' parts, to every rank.
  kReduceToRoot,  ///< To the root alone.
  kReduceToSlot,  ///< Slice r of it to rank r.
  kPull,          ///< No arithmetic: every rank takes whole parts of others.
  kPeer,          ///< From one rank to one other.
};

Flow flow_of(OperationKind kind);

/// What all ranks must agree on. Trivially copyable: ranks compare each other's.
struct Signature {
  OperationKind kind = OperationKind::kBarrier;
  Combine combine = Combine::kSum;
  std::uint32_t scalar_type = 0;  ///< at::ScalarType; any number does, as long as it is the same.
  std::uint32_t element_bytes = 1;
  /// Of what one rank contributes to, or gets from, each rank; of all ranks together where counts
  /// differ; -1 for an all_to_all with counts, which ranks need not agree on.
  std::int64_t numel = 0;
  std::uint64_t counts_hash = 0;   ///< Of the counts that all ranks must give alike.
  std::int32_t root = -1;          ///< Of operations that have one; -1 otherwise.
  std::int32_t logical_ranks = 0;  ///< Canonical forms only.
  std::int32_t divisor = 1;        ///< Of an average.
  char dtype_name[16] = {};

  bool operator==(const Signature&) const = default;
  /// "sum", "avg", ...; "" where the kind has one alone, or none.
  const char* combination() const;
  /// "all_reduce(sum, float32, 1024 elements)".
  std::string description() const;
};

/// A run of elements in the caller's memory.
struct Part {
  const std::byte* data = nullptr;
  std::int64_t numel = 0;
};

/// "Take part `part` of rank `from`, which has `numel` elements, to `to`."
struct Pull {
  int from = 0;
  int part = 0;
  std::int64_t numel = 0;
  std::byte* to = nullptr;
};

/// The other side of a pull: "rank `to` takes my part `part`."
struct Push {
  int to = 0;
  int part = 0;
};

/// The memory belongs to the caller, who keeps it alive until the operation has ended.
struct Operation {
  Signature signature;
  /// What this rank contributes. To a reduction: its sources, of signature.numel elements each; for
  /// kReduceToSlot each source is cut into world_size parts, slice by slice.
  std::vector<Part> parts;
  /// Parts that follow one another in one tensor: all blocks have this many, on all ranks.
  int parts_per_block = 1;
  /// Elements of the largest part of any rank; -1 when that is not known before the ranks meet.
  std::int64_t largest_part = 0;

  // Of a reduction.
  ReducePlan plan;                   ///< Over the sources of all ranks, in rank order.
  std::vector<int> sources_by_rank;  ///< How many each rank contributes.
  std::byte* output = nullptr;       ///< nullptr on ranks that get nothing.

  // Of a pull.
  std::vector<Pull> pulls;
  std::vector<Push> pushes;

  int peer = -1;  ///< Of send and receive; then parts[0] or output is the memory.

  /// Of device memory: what its transport said of the moment of the call. Null: host memory.
  std::shared_ptr<void> issued;

  std::int64_t element_bytes() const { return signature.element_bytes; }
  std::int64_t part_bytes() const { return signature.numel * signature.element_bytes; }
  Flow flow() const { return flow_of(signature.kind); }
  bool is_on_device() const { return issued != nullptr; }
  /// Of a reduction to all, or to one: whether `rank` has all of it in the end.
  bool gets_result(int rank) const;
  /// Parts of the rank that has most.
  int most_parts(int world_size) const;
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

/// Of each of `parts` parts, what staging memory of `bytes` has room for at a time: a multiple of
/// 64 elements where there is room for one.
std::int64_t staged_numel(std::int64_t bytes, int parts, std::int64_t element_bytes);

/// The sources of the plan when rank r's part p lies at `part(r, p)`. For kReduceToSlot those of
/// `rank`'s slice.
template <typename PartAt>
std::vector<const std::byte*> plan_sources(const Operation& op, int rank, const PartAt& part) {
  const int world_size = static_cast<int>(op.sources_by_rank.size());
  const bool to_slot = op.flow() == Flow::kReduceToSlot;
  std::vector<const std::byte*> sources;
  for (int r = 0; r < world_size; ++r) {
    for (int j = 0; j < op.sources_by_rank[static_cast<std::size_t>(r)]; ++j) {
      sources.push_back(part(r, to_slot ? j * world_size + rank : j));
    }
  }
  return sources;
}

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_OPERATION_H_
