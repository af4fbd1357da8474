// What each operation takes and gives, in terms of the "bytes" column. The same for every library.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_OPERATION_SHAPES_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_OPERATION_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "exact_pattern.h"

namespace muster::bench {

/// Of what the "bytes" column counts: nothing, all of it, or one rank's share.
enum class Extent { kNone, kWhole, kShare };

/// Who sees what: the arguments of OperationShape::expected.
struct Viewpoint {
  int rank = 0;
  int world_size = 1;
  std::int64_t whole_numel = 0;
  std::string reduction;

  std::int64_t share_numel() const { return whole_numel / world_size; }
};

/// Sizes and bus factors are those of nccl-tests (doc/PERFORMANCE.md there): with time t and the
/// bytes column S, the algorithm bandwidth is S / t and the bus bandwidth is S / t * bus_factor.
/// S is what one rank holds: of an all_gather the output, of a reduce_scatter the input.
struct OperationShape {
  std::string name;
  bool reduces = false;
  Extent input = Extent::kWhole;
  Extent output = Extent::kWhole;
  double (*bus_factor)(int world_size) = nullptr;
  /// What `output` must hold afterwards, when rank r's input was rank_pattern(r).
  std::vector<ExpectedRange> (*expected)(const Viewpoint& view) = nullptr;
};

/// The root of all operations that have one.
inline constexpr int kRoot = 0;

/// Every operation, in the order of the help text. A new one is a row here and a row in the table
/// of each library that has it.
const std::vector<OperationShape>& operation_shapes();

/// Throws ConfigError with the nearest name when there is none.
const OperationShape& operation_shape(const std::string& name);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_OPERATION_SHAPES_H_
