// Flat ranges tile what they cut, on the boundaries they promise.
#include "flat_layout.h"

#include <gtest/gtest.h>

namespace muster::internal {
namespace {

constexpr std::int64_t kBlock = kBlockNumel;

TEST(FlatLayout, EachParameterBeginsABlock) {
  const FlatLayout layout = make_flat_layout({1, 1024, 1025, 0, 10}, {{0, 1, 2, 3, 4}}, 1 << 20, 1);
  ASSERT_EQ(layout.parameters.size(), 5u);
  EXPECT_EQ(layout.parameters[0], (FlatRange{0, 1}));
  EXPECT_EQ(layout.parameters[1], (FlatRange{kBlock, 2 * kBlock}));
  EXPECT_EQ(layout.parameters[2], (FlatRange{2 * kBlock, 3 * kBlock + 1}));
  EXPECT_EQ(layout.parameters[3], (FlatRange{4 * kBlock, 4 * kBlock}));
  EXPECT_EQ(layout.parameters[4], (FlatRange{4 * kBlock, 4 * kBlock + 10}));
  EXPECT_EQ(layout.numel, 5 * kBlock);
  EXPECT_EQ(layout.buckets.size(), 1u);
}

TEST(FlatLayout, BucketsHoldWholeParametersUpToTheirSize) {
  const std::int64_t two_blocks = 2 * kBlock * 4;
  const FlatLayout layout =
      make_flat_layout({10, 20, 30, 5 * kBlock, 40}, {{0, 1, 2, 3, 4}}, two_blocks, 1);
  ASSERT_EQ(layout.buckets.size(), 4u);
  EXPECT_EQ(layout.buckets[0].parameters, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(layout.buckets[1].parameters, (std::vector<std::size_t>{2}));
  EXPECT_EQ(layout.buckets[2].parameters, (std::vector<std::size_t>{3}));  // larger than a bucket
  EXPECT_EQ(layout.buckets[2].range.numel(), 5 * kBlock);
  EXPECT_EQ(layout.bucket_of, (std::vector<std::size_t>{0, 0, 1, 2, 3}));
}

TEST(FlatLayout, UnitsAreWholeBucketsInTheOrderGiven) {
  const FlatLayout layout = make_flat_layout({1, 2, 3, 4}, {{0, 3}, {1}, {2}}, 1 << 20, 2);
  ASSERT_EQ(layout.units.size(), 3u);
  EXPECT_EQ(layout.unit_of, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(layout.parameters[3], (FlatRange{kBlock, kBlock + 4}));
  EXPECT_EQ(layout.units[1].range, (FlatRange{2 * kBlock, 4 * kBlock}));
}

TEST(FlatLayout, BucketsAndPiecesTileTheSpaceAtEveryWorldSize) {
  const std::vector<std::int64_t> numels = {3, 5000, 64, 1, 2048, 0, 9999, 7};
  for (const std::int64_t bytes : {1, 4096, 10000, 1 << 20}) {
    for (int world_size = 1; world_size <= 9; ++world_size) {
      const FlatLayout layout =
          make_flat_layout(numels, {{0, 1, 2}, {3, 4, 5, 6, 7}}, bytes, world_size);
      std::vector<ShardLayout> shards;
      for (int r = 0; r < world_size; ++r)
        shards.push_back(make_shard_layout(layout, r, world_size));
      std::int64_t next = 0;
      for (std::size_t b = 0; b < layout.buckets.size(); ++b) {
        EXPECT_EQ(layout.buckets[b].range.begin, next);
        for (const ShardLayout& shard : shards) {
          EXPECT_EQ(shard.pieces[b].flat.begin, next);
          EXPECT_EQ(next % kBlock, 0);
          next = shard.pieces[b].flat.end;
        }
        EXPECT_EQ(layout.buckets[b].range.end, next);
      }
      EXPECT_EQ(next, layout.numel);
      for (const ShardLayout& shard : shards) EXPECT_EQ(shard.numel, layout.numel / world_size);
    }
  }
}

TEST(FlatLayout, EvenPartsTileAndDifferByOneAtMost) {
  for (std::int64_t numel = 0; numel <= 50; ++numel) {
    for (int parts = 1; parts <= 9; ++parts) {
      std::int64_t next = 0;
      for (int i = 0; i < parts; ++i) {
        const FlatRange part = even_part(numel, i, parts);
        EXPECT_EQ(part.begin, next);
        EXPECT_LE(part.numel() - numel / parts, 1);
        EXPECT_GE(part.numel(), numel / parts);
        next = part.end;
      }
      EXPECT_EQ(next, numel);
    }
  }
}

}  // namespace
}  // namespace muster::internal
