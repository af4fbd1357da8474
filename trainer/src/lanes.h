// The order in which the loops over flat ranges sum: for the .cc files that are compiled for
// several instruction sets.
#ifndef MUSTER_TRAINER_SRC_LANES_H_
#define MUSTER_TRAINER_SRC_LANES_H_

namespace muster::internal {

/// Sixteen lanes, each a running sum over every sixteenth element, then a fixed tree over the
/// lanes: wide enough for any vector unit, and one order for all of them.
inline constexpr int kLanes = 16;

/// The sum of kLanes values, which it overwrites.
inline __attribute__((always_inline)) double fold(double* lanes) {
  for (int width = kLanes / 2; width >= 1; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_LANES_H_
