// The one binary tree in which logical ranks are summed, whatever processes host them. Pure: no
// tensor, no communication.
#ifndef MUSTER_COLLECTIVES_REDUCTION_TREE_H_
#define MUSTER_COLLECTIVES_REDUCTION_TREE_H_

#include <span>
#include <vector>

namespace muster {

/// Logical ranks [begin, end).
struct LogicalRange {
  int begin = 0;
  int end = 0;

  int size() const { return end - begin; }
  bool operator==(const LogicalRange&) const = default;
};

/// Rank r hosts [r*L/W, (r+1)*L/W) of L logical ranks at world size W: each at least one, sizes
/// differ by one at most. Throws ConfigError when there are fewer logical ranks than ranks.
std::vector<LogicalRange> assign_logical_ranks(int logical_ranks, int world_size);

/// One addition of an evaluation: value[into] = value[left] + value[right]. Values 0..k-1 are the k
/// sources; those from k on are intermediate. The last addition of a schedule makes the result.
struct Addition {
  int left = 0;
  int right = 0;
  int into = 0;

  bool operator==(const Addition&) const = default;
};

/// The fixed tree over logical ranks [0, L): a node over [a, b) splits at split(a, b), a leaf is
/// one logical rank. A sum taken in this order has the same bits however the leaves are spread over
/// processes.
class ReductionTree {
 public:
  /// Throws ConfigError when `logical_ranks` < 1.
  explicit ReductionTree(int logical_ranks);

  int logical_ranks() const { return logical_ranks_; }

  /// begin + the largest power of two below (end - begin). Requires end - begin >= 2.
  static int split(int begin, int end);

  /// The largest nodes of the tree inside `run`, in order: they tile it. At most 2 log2(L) of them;
  /// exactly one when `run` is the whole tree. A rank that hosts `run` sums each of them itself and
  /// communicates nothing smaller.
  std::vector<LogicalRange> maximal_subtrees(LogicalRange run) const;

  /// The maximal subtrees of all ranks under assign_logical_ranks(), in order; element r is rank
  /// r's.
  std::vector<std::vector<LogicalRange>> subtrees_by_rank(int world_size) const;

  /// The additions that turn the sums over `subtrees` (nodes of the tree that tile [0, L), in
  /// order) into the sum over [0, L) in tree order. Empty for one subtree. Throws InternalError
  /// when they are not such a tiling.
  std::vector<Addition> schedule(std::span<const LogicalRange> subtrees) const;

 private:
  int logical_ranks_;
};

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_REDUCTION_TREE_H_
