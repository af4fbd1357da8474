// The tree's shape and the additions it prescribes.
#include "muster/collectives/reduction_tree.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace {

void collect_subtrees(LogicalRange node, LogicalRange run, std::vector<LogicalRange>& found) {
  if (node.end <= run.begin || run.end <= node.begin) return;
  if (run.begin <= node.begin && node.end <= run.end) {
    found.push_back(node);
    return;
  }
  const int middle = ReductionTree::split(node.begin, node.end);
  collect_subtrees({node.begin, middle}, run, found);
  collect_subtrees({middle, node.end}, run, found);
}

// Walks the tree in postfix order. An intermediate value lives in the lowest slot that no live
// value occupies, so that the number of slots grows with the depth of the tree and not with the
// number of sources.
class ScheduleBuilder {
 public:
  explicit ScheduleBuilder(std::span<const LogicalRange> subtrees) : subtrees_(subtrees) {}

  // Returns the index of the value that holds the sum over `node`; slots below `free_slot` are
  // occupied.
  int build(LogicalRange node, int free_slot) {
    const int sources = static_cast<int>(subtrees_.size());
    MUSTER_CHECK_LT(next_, sources) << "no subtree covers logical rank " << node.begin;
    if (subtrees_[static_cast<std::size_t>(next_)] == node) return next_++;
    MUSTER_CHECK_GE(node.size(), 2) << "subtree " << next_ << " is no node of the tree";
    const int middle = ReductionTree::split(node.begin, node.end);
    const int left = build({node.begin, middle}, free_slot);
    const int right = build({middle, node.end}, free_slot + (left >= sources ? 1 : 0));
    const int into = sources + free_slot;
    additions_.push_back({left, right, into});
    return into;
  }

  std::vector<Addition> finish() {
    MUSTER_CHECK_EQ(next_, static_cast<int>(subtrees_.size()));
    return std::move(additions_);
  }

 private:
  std::span<const LogicalRange> subtrees_;
  std::vector<Addition> additions_;
  int next_ = 0;  // the first subtree not yet placed
};

}  // namespace

std::vector<LogicalRange> assign_logical_ranks(int logical_ranks, int world_size) {
  MUSTER_CHECK_GE(world_size, 1);
  if (logical_ranks < world_size) {
    throw ConfigError("logical ranks: expected at least one a rank, found " +
                      std::to_string(logical_ranks) + " for " + std::to_string(world_size) +
                      " ranks; start fewer ranks, or a job with more --logical-ranks");
  }
  const auto first = [&](int rank) {
    return static_cast<int>(std::int64_t{rank} * logical_ranks / world_size);
  };
  std::vector<LogicalRange> ranges;
  for (int rank = 0; rank < world_size; ++rank) ranges.push_back({first(rank), first(rank + 1)});
  return ranges;
}

ReductionTree::ReductionTree(int logical_ranks) : logical_ranks_(logical_ranks) {
  if (logical_ranks >= 1) return;
  throw ConfigError("logical ranks: expected a number of at least 1, found " +
                    std::to_string(logical_ranks) + "; correct --logical-ranks");
}

int ReductionTree::split(int begin, int end) {
  MUSTER_CHECK_GE(end - begin, 2);
  return begin + static_cast<int>(std::bit_floor(static_cast<unsigned>(end - begin - 1)));
}

std::vector<LogicalRange> ReductionTree::maximal_subtrees(LogicalRange run) const {
  MUSTER_CHECK(run.begin >= 0 && run.begin < run.end && run.end <= logical_ranks_)
      << "run [" << run.begin << ", " << run.end << ") of " << logical_ranks_;
  std::vector<LogicalRange> found;
  collect_subtrees({0, logical_ranks_}, run, found);
  return found;
}

std::vector<std::vector<LogicalRange>> ReductionTree::subtrees_by_rank(int world_size) const {
  std::vector<std::vector<LogicalRange>> by_rank;
  for (const LogicalRange& run : assign_logical_ranks(logical_ranks_, world_size)) {
    by_rank.push_back(maximal_subtrees(run));
  }
  return by_rank;
}

std::vector<Addition> ReductionTree::schedule(std::span<const LogicalRange> subtrees) const {
  ScheduleBuilder builder(subtrees);
  builder.build({0, logical_ranks_}, 0);
  return builder.finish();
}

}  // namespace muster
