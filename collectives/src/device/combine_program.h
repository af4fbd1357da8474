// A reduction's plan in the form in which a GPU runs it. Pure.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_COMBINE_PROGRAM_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_COMBINE_PROGRAM_H_

#include <cstdint>

#include "reduce_kernels.h"

namespace muster::internal {

/// Subtrees of all ranks together that one launch can add.
inline constexpr int kMaxDeviceSources = 128;
/// Values that wait for their right neighbour, in the deepest tree over 2^31 logical ranks.
inline constexpr int kMaxCombineStack = 34;

/// A stack machine: sources are pushed from first to last, and after source s the two topmost
/// values are combined combinations_after[s] times. Small enough to travel as a kernel's argument.
struct CombineProgram {
  Combine combine = Combine::kSum;
  int divisor = 1;
  int sources = 1;
  std::uint8_t combinations_after[kMaxDeviceSources] = {};
};

/// Combines the same values in the same order as `plan`, whose additions are those of a tree over
/// its sources in order. Throws InternalError when they are not, or there are too many.
CombineProgram combine_program(const ReducePlan& plan);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_COMBINE_PROGRAM_H_
