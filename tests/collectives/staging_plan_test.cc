// Pieces tile every operation, and fit.
#include "device/staging_plan.h"

#include <gtest/gtest.h>

#include <vector>

namespace muster::internal {
namespace {

Operation all_reduce_of(std::vector<float>& values) {
  Operation op;
  op.signature.kind = OperationKind::kAllReduce;
  op.signature.element_bytes = 4;
  op.signature.numel = static_cast<std::int64_t>(values.size());
  op.parts = {{reinterpret_cast<std::byte*>(values.data()), op.signature.numel}};
  op.output = reinterpret_cast<std::byte*>(values.data());
  op.largest_part = op.signature.numel;
  op.sources_by_rank = {1, 2, 1};
  return op;
}

TEST(StagingPlanTest, PiecesTileTheOperationAndFitIntoTheArea) {
  for (const std::int64_t numel : {0, 1, 63, 64, 65, 1000, 4096, 5001}) {
    for (const std::int64_t area_bytes : {8, 100, 512, 5000, 100000}) {
      std::vector<float> values(static_cast<std::size_t>(numel));
      const Operation op = all_reduce_of(values);
      const StagingPlan plan(op, 0, 3, numel, area_bytes);
      std::int64_t next = 0;
      for (std::int64_t k = 0; k < plan.pieces(); ++k) {
        EXPECT_EQ(plan.range(k).begin, next);
        EXPECT_GT(plan.range(k).numel(), 0);
        // Rank 1 has two parts.
        EXPECT_LE(plan.part_offset_bytes(k, 2), area_bytes);
        next = plan.range(k).end;
      }
      EXPECT_EQ(next, numel) << numel << " elements, " << area_bytes << " bytes";
    }
  }
}

TEST(StagingPlanTest, AReductionIsCopiedInAndOutInPlace) {
  std::vector<float> values(100);
  const Operation op = all_reduce_of(values);
  std::vector<std::byte> area(2 * 64 * 4);
  const StagingPlan plan(op, 0, 3, 100, static_cast<std::int64_t>(area.size()));
  ASSERT_EQ(plan.pieces(), 2);
  const auto in = plan.copies_in(1, area.data());
  ASSERT_EQ(in.size(), 1u);
  EXPECT_EQ(in[0].to, area.data());
  EXPECT_EQ(in[0].from, op.parts[0].data + 64 * 4);
  EXPECT_EQ(in[0].bytes, 36 * 4);
  const Operation piece = plan.on_area(1, area.data());
  EXPECT_EQ(piece.signature.numel, 36);
  EXPECT_EQ(piece.parts[0].data, area.data());
  EXPECT_EQ(piece.output, area.data());
  const auto out = plan.copies_out(1, area.data());
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, op.output + 64 * 4);
  EXPECT_EQ(out[0].bytes, 36 * 4);
}

// An all_gather with counts 3, 0, 150: what the rank takes from itself is copied once, whole, and
// what is pulled beyond a part's end is nothing.
TEST(StagingPlanTest, UnequalPartsAreCutAtTheirEnds) {
  std::vector<std::byte> output(153);
  Operation op;
  op.signature.kind = OperationKind::kAllGather;
  op.parts = {{output.data(), 3}};
  op.pulls = {
      {0, 0, 3, output.data()}, {1, 0, 0, output.data() + 3}, {2, 0, 150, output.data() + 3}};
  op.pushes = {{1, 0}, {2, 0}};
  op.largest_part = 150;
  std::vector<std::byte> area(4 * 64);
  const StagingPlan plan(op, 0, 3, 150, 4 * 64);
  ASSERT_EQ(plan.pieces(), 3);
  EXPECT_TRUE(plan.own_copies().empty());  // in place
  EXPECT_EQ(plan.copies_in(0, area.data()).size(), 1u);
  EXPECT_TRUE(plan.copies_in(1, area.data()).empty());
  const Operation last = plan.on_area(2, area.data());
  EXPECT_EQ(last.parts[0].numel, 0);
  ASSERT_EQ(last.pulls.size(), 2u);
  EXPECT_EQ(last.pulls[0].numel, 0);
  EXPECT_EQ(last.pulls[1].numel, 22);
  const auto out = plan.copies_out(2, area.data());
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, output.data() + 3 + 128);
  EXPECT_EQ(out[0].bytes, 22);
}

}  // namespace
}  // namespace muster::internal
