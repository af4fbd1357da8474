// Flat ranges tile what they cut, on the boundaries they promise.
#include "flat_layout.h"

#include <gtest/gtest.h>

namespace muster::internal {
namespace {

TEST(FlatLayout, ParametersAreAlignedAndDoNotOverlap) {
  const FlatLayout layout = make_flat_layout({1, 64, 65, 0, 1000});
  ASSERT_EQ(layout.parameters.size(), 5u);
  EXPECT_EQ(layout.parameters[0], (FlatRange{0, 1}));
  EXPECT_EQ(layout.parameters[1], (FlatRange{64, 128}));
  EXPECT_EQ(layout.parameters[2], (FlatRange{128, 193}));
  EXPECT_EQ(layout.parameters[3], (FlatRange{256, 256}));
  EXPECT_EQ(layout.parameters[4], (FlatRange{256, 1256}));
  EXPECT_EQ(layout.numel, 2048);
}

TEST(FlatLayout, PaddedRangesTileTheSpace) {
  const FlatLayout layout = make_flat_layout({3, 5000, 64, 1});
  std::int64_t next = 0;
  for (std::size_t i = 0; i < layout.parameters.size(); ++i) {
    EXPECT_EQ(layout.padded(i).begin, next);
    next = layout.padded(i).end;
  }
  EXPECT_EQ(next, layout.numel);
}

TEST(FlatLayout, BucketsTileTheSpaceOnBlocks) {
  for (const std::int64_t bytes : {1, 4096, 10000, 1 << 20}) {
    for (std::int64_t blocks = 1; blocks <= 40; ++blocks) {
      std::int64_t next = 0;
      for (const FlatRange& bucket : make_buckets(blocks * kBlockNumel, bytes)) {
        EXPECT_EQ(bucket.begin, next);
        EXPECT_GT(bucket.numel(), 0);
        EXPECT_EQ(bucket.begin % kBlockNumel, 0);
        next = bucket.end;
      }
      EXPECT_EQ(next, blocks * kBlockNumel);
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
