// Which state is the newest complete one, by rank, generation and tier.
#include "muster/checkpoint/tiers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "muster/checkpoint/snapshot_memory.h"

namespace muster::checkpoint {
namespace {

using ::testing::ElementsAre;

std::vector<SnapshotPart> parts_of(const SnapshotId& id, unsigned ranks) {
  std::vector<SnapshotPart> parts;
  for (int rank = 0; rank < 8; ++rank) {
    if ((ranks >> rank & 1u) != 0) parts.push_back({.id = id, .rank = rank});
  }
  return parts;
}

TEST(Tiers, ASnapshotIsCompleteWhenEveryRankOfItsWorldSealedItsPart) {
  for (int world_size = 1; world_size <= 4; ++world_size) {
    const unsigned all = (1u << world_size) - 1;
    for (unsigned ranks = 1; ranks <= all; ++ranks) {
      const SnapshotId id{7, 2, world_size};
      const auto complete = complete_snapshots(parts_of(id, ranks));
      ASSERT_EQ(complete.size(), ranks == all ? 1u : 0u) << world_size << " " << ranks;
      if (ranks != all) continue;
      EXPECT_EQ(complete.front(), id);
    }
  }
}

TEST(Tiers, PartsOfDifferentWorldsStepsAndGenerationsAreNotPutTogether) {
  std::vector<SnapshotPart> parts;
  const auto add = [&](const SnapshotId& id, unsigned ranks) {
    for (const SnapshotPart& part : parts_of(id, ranks)) parts.push_back(part);
  };
  add({10, 0, 2}, 0b01);
  add({10, 1, 2}, 0b10);  // the same step, another generation
  add({11, 0, 2}, 0b10);  // the same generation, another step
  add({10, 1, 3}, 0b101);
  EXPECT_TRUE(complete_snapshots(parts).empty());
  add({9, 0, 2}, 0b11);
  add({9, 3, 1}, 0b1);
  add({8, 4, 4}, 0b1111);
  EXPECT_THAT(complete_snapshots(parts),
              ElementsAre(SnapshotId{9, 3, 1}, SnapshotId{9, 0, 2}, SnapshotId{8, 4, 4}));
}

TEST(Tiers, TheNewestStepIsTriedFirstAndOfOneStepTheNearest) {
  const std::vector<TierState> expected = {{Tier::kDisk, 12},         {Tier::kMemory, 11, 3, 2},
                                           {Tier::kMemory, 11, 1, 4}, {Tier::kDisk, 11},
                                           {Tier::kDisk, 10},         {Tier::kMemory, 9, 8, 1}};
  std::vector<TierState> states = expected;
  std::reverse(states.begin(), states.end());
  EXPECT_EQ(restore_order(states), expected);
  std::rotate(states.begin(), states.begin() + 3, states.end());
  EXPECT_EQ(restore_order(states), expected);
  EXPECT_TRUE(restore_order({}).empty());
}

}  // namespace
}  // namespace muster::checkpoint
