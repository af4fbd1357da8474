// However ranks are spread over nodes, the nodes' partials make the bits of the whole plan.
#include "node_reduction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "muster/collectives/reduction_tree.h"

namespace muster::internal {
namespace {

using ::testing::ElementsAre;
using Bytes = std::vector<std::byte>;

constexpr std::int64_t kNumel = 40;

std::int64_t bytes_of(DType dtype) { return kNumel * dtype_bytes(dtype); }

Bytes evaluate(const ReducePlan& plan, const std::vector<const std::byte*>& sources) {
  Bytes result(static_cast<std::size_t>(bytes_of(plan.dtype)));
  std::byte* const out = result.data();
  reduce(plan, sources, {&out, 1}, kNumel);
  return result;
}

/// Random bits: floats over the whole range, infinities and NaNs among them, and integers that wrap
/// around.
std::vector<Bytes> random_sources(int count, DType dtype) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::vector<Bytes> sources;
  for (int s = 0; s < count; ++s) {
    Bytes source(static_cast<std::size_t>(bytes_of(dtype)));
    for (std::byte& byte : source) byte = static_cast<std::byte>(random());
    sources.push_back(std::move(source));
  }
  return sources;
}

std::vector<const std::byte*> addresses(const std::vector<Bytes>& values) {
  std::vector<const std::byte*> list;
  for (const Bytes& value : values) list.push_back(value.data());
  return list;
}

/// What an owner on `node` makes of its node's sources and the other nodes' partials.
Bytes evaluate_by_nodes(const ReducePlan& plan, const std::vector<int>& node_of_source, int node,
                        int nodes, const std::vector<Bytes>& sources) {
  std::vector<std::vector<Bytes>> partials(static_cast<std::size_t>(nodes));
  for (int n = 0; n < nodes; ++n) {
    for (const NodePartial& partial : reduce_by_nodes(plan, node_of_source, n).partials) {
      std::vector<const std::byte*> own;
      for (const int index : partial.sources) {
        EXPECT_EQ(node_of_source[static_cast<std::size_t>(index)], n);
        own.push_back(sources[static_cast<std::size_t>(index)].data());
      }
      const Bytes as_it_stands = sources[static_cast<std::size_t>(partial.sources[0])];
      partials[static_cast<std::size_t>(n)].push_back(
          own.size() == 1 ? as_it_stands : evaluate(partial.plan, own));
    }
  }
  const NodeReduction reduction = reduce_by_nodes(plan, node_of_source, node);
  std::vector<const std::byte*> inputs;
  for (const NodeInput& input : reduction.inputs) {
    const auto index = static_cast<std::size_t>(input.index);
    const auto& of_node = partials[static_cast<std::size_t>(input.node)];
    inputs.push_back((input.node == node ? sources[index] : of_node.at(index)).data());
  }
  return evaluate(reduction.final_plan, inputs);
}

ReducePlan plan_over(const std::vector<LogicalRange>& subtrees, int logical_ranks, Combine combine,
                     DType dtype) {
  return {combine, dtype, static_cast<int>(subtrees.size()),
          ReductionTree(logical_ranks).schedule(subtrees), 1};
}

std::vector<LogicalRange> leaves(int count) {
  std::vector<LogicalRange> list;
  for (int i = 0; i < count; ++i) list.push_back({i, i + 1});
  return list;
}

void expect_same_bits(const ReducePlan& plan, const std::vector<int>& node_of_source, int nodes) {
  const std::vector<Bytes> sources = random_sources(plan.sources, plan.dtype);
  const Bytes whole = evaluate(plan, addresses(sources));
  for (int node = 0; node < nodes; ++node) {
    ASSERT_EQ(evaluate_by_nodes(plan, node_of_source, node, nodes, sources), whole)
        << plan.sources << " sources on nodes " << ::testing::PrintToString(node_of_source)
        << ", owner on node " << node;
  }
}

/// Every way of spreading ranks over three nodes, some of which may stay empty.
void sweep(Combine combine, DType dtype, int divisor) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    ReducePlan plan = plan_over(leaves(ranks), ranks, combine, dtype);
    plan.divisor = divisor;
    std::vector<int> nodes(static_cast<std::size_t>(ranks));
    for (std::size_t digit = 0; digit < nodes.size();) {
      expect_same_bits(plan, nodes, 3);
      for (digit = 0; digit < nodes.size() && ++nodes[digit] == 3; ++digit) nodes[digit] = 0;
    }
  }
}

TEST(NodeReduction, GivesTheBitsOfTheWholePlanHoweverRanksAreSpread) {
  sweep(Combine::kSum, DType::kFloat32, 1);
  sweep(Combine::kSum, DType::kFloat64, 3);
  sweep(Combine::kProduct, DType::kFloat32, 1);
  sweep(Combine::kSum, DType::kBFloat16, 1);
  sweep(Combine::kSum, DType::kFloat16, 5);
  sweep(Combine::kMin, DType::kBFloat16, 1);
  sweep(Combine::kSum, DType::kInt32, 1);
  sweep(Combine::kMax, DType::kInt8, 1);
}

TEST(NodeReduction, GivesTheBitsOfTheTreeForAllLogicalRanksAndRunsOfRanks) {
  for (int logical_ranks = 1; logical_ranks <= 16; ++logical_ranks) {
    for (int world_size = 1; world_size <= std::min(logical_ranks, 8); ++world_size) {
      for (int first = 0; first <= world_size; ++first) {
        std::vector<LogicalRange> subtrees;
        std::vector<int> node_of_source;
        const auto by_rank = ReductionTree(logical_ranks).subtrees_by_rank(world_size);
        for (int r = 0; r < world_size; ++r) {
          for (const LogicalRange& subtree : by_rank[static_cast<std::size_t>(r)]) {
            subtrees.push_back(subtree);
            node_of_source.push_back(r < first ? 0 : 1);
          }
        }
        expect_same_bits(plan_over(subtrees, logical_ranks, Combine::kSum, DType::kFloat32),
                         node_of_source, 2);
      }
    }
  }
}

NodeReduction sum_of_floats(const std::vector<int>& nodes, int own_node, DType dtype) {
  const int ranks = static_cast<int>(nodes.size());
  return reduce_by_nodes(plan_over(leaves(ranks), ranks, Combine::kSum, dtype), nodes, own_node);
}

TEST(NodeReduction, SendsOneValueForANodeWhoseRanksAreASubtree) {
  const NodeReduction reduction = sum_of_floats({0, 0, 1, 1}, 0, DType::kFloat32);
  ASSERT_EQ(reduction.partials.size(), 1u);
  EXPECT_THAT(reduction.partials[0].sources, ElementsAre(0, 1));
  EXPECT_EQ(reduction.inputs.size(), 3u);  // its own two sources, and the other node's value
}

TEST(NodeReduction, SendsTheLargestSubtreesOfUnevenNodes) {
  const NodeReduction three = sum_of_floats({0, 0, 0, 1}, 0, DType::kFloat32);
  ASSERT_EQ(three.partials.size(), 2u);
  EXPECT_THAT(three.partials[0].sources, ElementsAre(0, 1));
  EXPECT_THAT(three.partials[1].sources, ElementsAre(2));
  EXPECT_EQ(sum_of_floats({0, 0, 0, 1}, 1, DType::kFloat32).partials.size(), 1u);
}

TEST(NodeReduction, SendsEachSourceWhereRanksTakeTurnsOrRoundingWouldShow) {
  EXPECT_EQ(sum_of_floats({0, 1, 0, 1}, 0, DType::kFloat32).partials.size(), 2u);
  EXPECT_EQ(sum_of_floats({0, 0, 1, 1}, 0, DType::kBFloat16).partials.size(), 2u);
}

TEST(NodeLayout, PutsOneRankOfEachNodeInChargeOfEveryOtherRank) {
  const NodeLayout layout({0, 0, 0, 3, 3});
  EXPECT_EQ(layout.nodes(), 2);
  EXPECT_THAT(layout.ranks_of(1), ElementsAre(3, 4));
  EXPECT_EQ(layout.local_rank_of(4), 1);
  EXPECT_EQ(layout.in_charge(1, 3), 3);
  EXPECT_EQ(layout.in_charge(1, 0), 3);
  EXPECT_EQ(layout.in_charge(1, 1), 4);
  EXPECT_EQ(layout.in_charge(1, 2), 3);
  EXPECT_EQ(layout.in_charge(0, 4), 1);
}

TEST(NodeLayout, KnowsRanksThatTakeTurns) {
  const NodeLayout layout({0, 1, 0, 1});
  EXPECT_THAT(layout.ranks_of(0), ElementsAre(0, 2));
  EXPECT_EQ(layout.node_of(3), 1);
  EXPECT_EQ(layout.local_rank_of(2), 1);
}

}  // namespace
}  // namespace muster::internal
