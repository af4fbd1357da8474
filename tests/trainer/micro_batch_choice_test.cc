// The largest divisor that fits, found without trying one that does not.
#include "micro_batch_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::internal {
namespace {

/// 100 bytes by plan, and 10 a sample; notes what was measured.
struct Affine {
  std::vector<std::int64_t> asked;
  MicroBatchNeeds needs = {.planned = [](std::int64_t) { return 100; },
                           .measured =
                               [this](std::int64_t micro_batch) {
                                 asked.push_back(micro_batch);
                                 return 10 * micro_batch;
                               }};
};

TEST(MicroBatchChoice, IsTheLargestDivisorThatFits) {
  Affine affine;
  const MicroBatchChoice choice = choose_micro_batch(24, 185, affine.needs);
  EXPECT_EQ(choice.micro_batch, 8);
  EXPECT_EQ(choice.bytes, 180);
  EXPECT_EQ(choice.next_micro_batch, 12);
  EXPECT_EQ(choice.next_bytes, 220);
  EXPECT_THAT(affine.asked, testing::ElementsAre(1, 2, 3, 4, 6, 8)) << "12 was never tried";
}

TEST(MicroBatchChoice, IsEverythingWhereAllFits) {
  Affine affine;
  const MicroBatchChoice choice = choose_micro_batch(7, 170, affine.needs);
  EXPECT_EQ(choice.micro_batch, 7);
  EXPECT_EQ(choice.next_micro_batch, 0);
}

TEST(MicroBatchChoice, IsNoneWhereOneSampleIsTooMuch) {
  Affine affine;
  const MicroBatchChoice choice = choose_micro_batch(8, 109, affine.needs);
  EXPECT_EQ(choice.micro_batch, 0);
  EXPECT_EQ(choice.next_bytes, 110);
  EXPECT_THAT(affine.asked, testing::ElementsAre(1));
}

// What is measured counts, where the line promised more.
TEST(MicroBatchChoice, BelievesTheMeasurement) {
  const MicroBatchChoice choice =
      choose_micro_batch(8, 900,
                         {.planned = [](std::int64_t) { return 100; },
                          .measured = [](std::int64_t m) { return m < 4 ? m : 1000 * m - 100; }});
  EXPECT_EQ(choice.micro_batch, 2);
  EXPECT_EQ(choice.next_micro_batch, 4);
  EXPECT_EQ(choice.next_bytes, 4000);
}

// Without accumulation a rank may hold a buffer of gradients less.
TEST(MicroBatchChoice, LooksBeyondOneThatDoesNotFit) {
  const MicroBatchChoice choice =
      choose_micro_batch(8, 100,
                         {.planned = [](std::int64_t m) { return m == 8 ? 10 : 80; },
                          .measured = [](std::int64_t m) { return 10 * m; }});
  EXPECT_EQ(choice.micro_batch, 8);
  EXPECT_EQ(choice.bytes, 90);
  EXPECT_EQ(choice.next_micro_batch, 0);
}

}  // namespace
}  // namespace muster::internal
