// A cache with foresight: what is held is what was asked for, within bounds, whatever the way.
#include "unit_residency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace muster::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(UnitResidency, TheLeastRecentlyNeededGoesFirst) {
  UnitResidency residency(0);
  EXPECT_THAT(residency.need({0}).fetch, ElementsAre(0));
  EXPECT_THAT(residency.need({1}).fetch, ElementsAre(1));
  EXPECT_THAT(residency.need({0}).fetch, IsEmpty());
  const ResidencyChange change = residency.need({2});
  EXPECT_THAT(change.fetch, ElementsAre(2));
  EXPECT_THAT(change.drop, ElementsAre(1));
  EXPECT_THAT(residency.clear(), UnorderedElementsAre(0, 2));
  EXPECT_THAT(residency.clear(), IsEmpty());
}

TEST(UnitResidency, WhatComesNextIsFetchedFromTheSecondPassOn) {
  UnitResidency residency(1);
  for (const std::size_t unit : {0, 1, 2, 1, 0}) residency.need({unit});
  residency.clear();
  residency.begin_pass();
  EXPECT_THAT(residency.need({0}).fetch, ElementsAre(0, 1));
  EXPECT_THAT(residency.need({0}).fetch, IsEmpty());
  EXPECT_THAT(residency.need({1}).fetch, ElementsAre(2));
  EXPECT_THAT(residency.need({2}).fetch, IsEmpty());  // 1 is still there
  EXPECT_THAT(residency.need({1}).fetch, IsEmpty());
}

TEST(UnitResidency, AnUnexpectedUnitIsFetchedAndTheWayFoundAgain) {
  UnitResidency residency(1);
  for (const std::size_t unit : {0, 1, 2, 3}) residency.need({unit});
  residency.clear();
  residency.begin_pass();
  residency.need({0});
  EXPECT_THAT(residency.need({7}).fetch, ElementsAre(7));
  EXPECT_THAT(residency.need({2}).fetch, ElementsAre(2, 3));
}

TEST(UnitResidency, AnOperationGetsAllThatItNeeds) {
  UnitResidency residency(0);
  EXPECT_THAT(residency.need({4, 2, 0, 1, 3}).fetch, UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(residency.need({5}).drop.size(), 4u);
}

TEST(UnitResidency, HoldsWhatIsNeededAndNoMoreThanItMay) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::size_t prefetch = random() % 4;
    UnitResidency residency(prefetch);
    std::set<std::size_t> held;
    for (int i = 0; i < 200; ++i) {
      if (random() % 20 == 0) residency.begin_pass();
      if (random() % 30 == 0) {
        for (const std::size_t unit : residency.clear()) EXPECT_EQ(held.erase(unit), 1u);
        EXPECT_TRUE(held.empty());
      }
      std::set<std::size_t> needed;
      for (std::size_t n = 1 + random() % 3; n > 0; --n) needed.insert(random() % 9);
      const ResidencyChange change = residency.need({needed.begin(), needed.end()});
      for (const std::size_t unit : change.drop) {
        EXPECT_EQ(held.erase(unit), 1u);
        EXPECT_EQ(needed.count(unit), 0u);
      }
      for (const std::size_t unit : change.fetch) EXPECT_TRUE(held.insert(unit).second);
      for (const std::size_t unit : needed) EXPECT_EQ(held.count(unit), 1u);
      EXPECT_LE(held.size(), std::max(prefetch + 2, prefetch + needed.size()));
    }
  }
}

}  // namespace
}  // namespace muster::internal
