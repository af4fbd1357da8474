// The tree gives the same bits for every way of cutting the logical ranks into runs.
#include "muster/collectives/reduction_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "muster/base/error.h"
#include "reduce_kernels.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using Values = std::vector<float>;

TEST(ReductionTree, SplitsAtTheLargestPowerOfTwoBelow) {
  EXPECT_EQ(ReductionTree::split(0, 2), 1);
  EXPECT_EQ(ReductionTree::split(0, 3), 2);
  EXPECT_EQ(ReductionTree::split(0, 4), 2);
  EXPECT_EQ(ReductionTree::split(0, 5), 4);
  EXPECT_EQ(ReductionTree::split(4, 7), 6);
  EXPECT_EQ(ReductionTree::split(0, 1000), 512);
}

TEST(ReductionTree, AssignsEveryLogicalRankOnceAndEvenly) {
  for (int logical_ranks = 1; logical_ranks <= 40; ++logical_ranks) {
    for (int world_size = 1; world_size <= logical_ranks; ++world_size) {
      int next = 0;
      for (const LogicalRange& run : assign_logical_ranks(logical_ranks, world_size)) {
        EXPECT_EQ(run.begin, next);
        EXPECT_GE(run.size(), logical_ranks / world_size);
        EXPECT_LE(run.size(), (logical_ranks + world_size - 1) / world_size);
        next = run.end;
      }
      EXPECT_EQ(next, logical_ranks);
    }
  }
}

TEST(ReductionTree, RefusesMoreRanksThanLogicalRanks) {
  EXPECT_THROW(assign_logical_ranks(2, 4), ConfigError);
  EXPECT_THROW(ReductionTree(0), ConfigError);
}

TEST(ReductionTree, FindsMaximalSubtrees) {
  const ReductionTree tree(8);
  EXPECT_THAT(tree.maximal_subtrees({0, 8}), ElementsAre(LogicalRange{0, 8}));
  EXPECT_THAT(tree.maximal_subtrees({0, 6}), ElementsAre(LogicalRange{0, 4}, LogicalRange{4, 6}));
  EXPECT_THAT(tree.maximal_subtrees({1, 7}), ElementsAre(LogicalRange{1, 2}, LogicalRange{2, 4},
                                                         LogicalRange{4, 6}, LogicalRange{6, 7}));
  EXPECT_THAT(ReductionTree(7).maximal_subtrees({0, 7}), ElementsAre(LogicalRange{0, 7}));
  EXPECT_THAT(ReductionTree(7).maximal_subtrees({4, 7}), ElementsAre(LogicalRange{4, 7}));
}

TEST(ReductionTree, SchedulesFewIntermediateValues) {
  const ReductionTree tree(16);
  std::vector<LogicalRange> leaves;
  for (int i = 0; i < 16; ++i) leaves.push_back({i, i + 1});
  int slots = 0;
  for (const Addition& addition : tree.schedule(leaves)) {
    slots = std::max(slots, addition.into - 16 + 1);
  }
  EXPECT_EQ(slots, 4);
}

TEST(ReductionTree, RefusesToScheduleWhatIsNoTiling) {
  const ReductionTree tree(4);
  EXPECT_THROW(tree.schedule(std::vector<LogicalRange>{{0, 2}}), InternalError);
  EXPECT_THROW(tree.schedule(std::vector<LogicalRange>{{0, 1}, {1, 3}, {3, 4}}), InternalError);
  EXPECT_THROW(tree.schedule(std::vector<LogicalRange>{{0, 4}, {0, 4}}), InternalError);
}

// Any float there is: random bits, and the special ones often.
float any_float(std::mt19937& random) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float specials[] = {0.0f,
                            -0.0f,
                            kInfinity,
                            -kInfinity,
                            std::nanf("1"),
                            -std::nanf("7"),
                            std::numeric_limits<float>::denorm_min(),
                            -std::numeric_limits<float>::denorm_min(),
                            std::numeric_limits<float>::max()};
  if (random() % 64 == 0) return specials[random() % std::size(specials)];
  return std::bit_cast<float>(static_cast<std::uint32_t>(random()));
}

class TreeOfValues {
 public:
  TreeOfValues(int logical_ranks, std::size_t numel) : tree_(logical_ranks) {
    std::mt19937 random(static_cast<unsigned>(logical_ranks));
    for (int l = 0; l < logical_ranks; ++l) {
      Values values(numel);
      // Neighbouring exponents, so that rounding matters, in half of the elements; any in the
      // others.
      std::uniform_real_distribution<float> near(-2.0f, 2.0f);
      for (std::size_t i = 0; i < numel; ++i) {
        values[i] = i % 2 == 0 ? near(random) : any_float(random);
      }
      sums_[{l, l + 1}] = std::move(values);
    }
    sum({0, logical_ranks});
  }

  const ReductionTree& tree() const { return tree_; }

  // By the definition of the tree, one element at a time.
  const Values& sum(LogicalRange node) {
    const auto key = std::pair(node.begin, node.end);
    if (const auto found = sums_.find(key); found != sums_.end()) return found->second;
    const int middle = ReductionTree::split(node.begin, node.end);
    const Values& left = sum({node.begin, middle});
    const Values& right = sum({middle, node.end});
    Values total(left.size());
    for (std::size_t i = 0; i < total.size(); ++i) total[i] = left[i] + right[i];
    return sums_[key] = std::move(total);
  }

  // What the transports do when the ranks host the runs between `cuts`.
  Values evaluate(const std::vector<LogicalRange>& runs) {
    std::vector<LogicalRange> subtrees;
    for (const LogicalRange& run : runs) {
      for (const LogicalRange& subtree : tree_.maximal_subtrees(run)) subtrees.push_back(subtree);
    }
    std::vector<const std::byte*> sources;
    for (const LogicalRange& subtree : subtrees) {
      sources.push_back(reinterpret_cast<const std::byte*>(sum(subtree).data()));
    }
    const internal::ReducePlan plan{internal::Combine::kSum, DType::kFloat32,
                                    static_cast<int>(subtrees.size()), tree_.schedule(subtrees)};
    Values result(sum({0, 1}).size());
    std::byte* const output = reinterpret_cast<std::byte*>(result.data());
    internal::reduce(plan, sources, {&output, 1}, static_cast<std::int64_t>(result.size()));
    return result;
  }

 private:
  ReductionTree tree_;
  std::map<std::pair<int, int>, Values> sums_;
};

bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Bit l of `cuts` set: a new run begins at logical rank l + 1.
std::vector<LogicalRange> runs_of(int logical_ranks, unsigned cuts) {
  std::vector<LogicalRange> runs{{0, logical_ranks}};
  for (int l = 0; l + 1 < logical_ranks; ++l) {
    if ((cuts >> l & 1u) == 0) continue;
    runs.back().end = l + 1;
    runs.push_back({l + 1, logical_ranks});
  }
  return runs;
}

TEST(ReductionTree, GivesTheSameBitsForEveryContiguousPartition) {
  for (int logical_ranks = 1; logical_ranks <= 16; ++logical_ranks) {
    TreeOfValues values(logical_ranks, 67);
    const Values alone = values.evaluate({{0, logical_ranks}});
    const Values& by_definition = values.sum({0, logical_ranks});
    for (std::size_t i = 0; i < alone.size(); ++i) {
      if (by_definition[i] == by_definition[i]) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(alone[i]),
                  std::bit_cast<std::uint32_t>(by_definition[i]));
      } else {
        ASSERT_NE(alone[i], alone[i]);
      }
    }
    for (unsigned cuts = 0; cuts < 1u << (logical_ranks - 1); ++cuts) {
      ASSERT_TRUE(same_bits(values.evaluate(runs_of(logical_ranks, cuts)), alone))
          << logical_ranks << " logical ranks, cuts " << std::hex << cuts;
    }
  }
}

}  // namespace
}  // namespace muster
