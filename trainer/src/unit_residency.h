// Which units are in memory, and which should be on their way: pure.
#ifndef MUSTER_TRAINER_SRC_UNIT_RESIDENCY_H_
#define MUSTER_TRAINER_SRC_UNIT_RESIDENCY_H_

#include <cstddef>
#include <vector>

namespace muster::internal {

/// What to do, in this order.
struct ResidencyChange {
  std::vector<std::size_t> drop;
  std::vector<std::size_t> fetch;
};

/// A cache of units that learns in which order passes need them. What it expects is never needed
/// for being right: a pass may take another way.
class UnitResidency {
 public:
  /// Keeps what an operation needs, the `prefetch` units that come next, and one that was used
  /// before while there are no more than prefetch + 2 in all.
  explicit UnitResidency(std::size_t prefetch) : prefetch_(prefetch) {}

  /// The pass goes the way of the one before, as far as anyone knows.
  void begin_pass();
  /// An operation needs `units`.
  ResidencyChange need(const std::vector<std::size_t>& units);
  /// All that are held.
  std::vector<std::size_t> clear();

 private:
  void record(std::size_t unit);
  std::vector<std::size_t> expected(const std::vector<std::size_t>& units) const;

  std::size_t prefetch_;
  std::vector<std::size_t> held_;      // the least recently needed first
  std::vector<std::size_t> way_;       // of the pass before
  std::vector<std::size_t> recorded_;  // of this one
  std::size_t position_ = 0;           // in way_: what comes next
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_UNIT_RESIDENCY_H_
