// What is kept is what the tree says.
#include "sum_orders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::ElementsAre;

TEST(SumOrders, AreThoseOfTheTree) {
  SumOrders orders(3);
  // Ranks host [0, 2), [2, 5) and [5, 8) of 8: the second has {2, 3} and 4, the third 5 and {6, 7}.
  const SumOrder& order = orders.of(ReductionTree(8));
  EXPECT_THAT(order.sources_by_rank, ElementsAre(1, 2, 2));
  EXPECT_EQ(order.sources, 5);
  const std::vector<LogicalRange> subtrees = {{0, 2}, {2, 4}, {4, 5}, {5, 6}, {6, 8}};
  EXPECT_EQ(order.additions, ReductionTree(8).schedule(subtrees));
}

TEST(SumOrders, EachTreeHasItsOwn) {
  SumOrders orders(2);
  const SumOrder& four = orders.of(ReductionTree(4));
  EXPECT_THAT(orders.of(ReductionTree(3)).sources_by_rank, ElementsAre(1, 2));
  EXPECT_THAT(orders.of(ReductionTree(7)).sources_by_rank, ElementsAre(2, 2));
  EXPECT_EQ(&orders.of(ReductionTree(4)), &four);
}

TEST(SumOrders, OfRanksHasOneLeafEach) {
  SumOrders orders(4);
  EXPECT_THAT(orders.of_ranks().sources_by_rank, ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(orders.of_ranks().additions.size(), 3u);
}

TEST(SumOrders, FewerLogicalRanksThanRanksAreRefused) {
  SumOrders orders(4);
  EXPECT_THROW(orders.of(ReductionTree(3)), ConfigError);
}

}  // namespace
}  // namespace muster::internal
