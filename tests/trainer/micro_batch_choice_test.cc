// The largest divisor that fits, found without trying one that does not.
#include "micro_batch_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::internal {
namespace {

/// With 100 bytes and 10 more a sample; notes what was asked.
struct Affine {
  std::vector<std::int64_t> asked;
  std::int64_t operator()(std::int64_t micro_batch) {
    asked.push_back(micro_batch);
    return 100 + 10 * micro_batch;
  }
};

TEST(MicroBatchChoice, IsTheLargestDivisorThatFits) {
  Affine affine;
  const MicroBatchChoice choice = choose_micro_batch(24, 185, std::ref(affine));
  EXPECT_EQ(choice.micro_batch, 8);
  EXPECT_EQ(choice.bytes, 180);
  EXPECT_EQ(choice.next_micro_batch, 12);
  EXPECT_EQ(choice.next_bytes, 220);
  EXPECT_THAT(affine.asked, testing::ElementsAre(1, 2, 3, 4, 6, 8)) << "12 was never tried";
}

TEST(MicroBatchChoice, IsEverythingWhereAllFits) {
  Affine affine;
  const MicroBatchChoice choice = choose_micro_batch(7, 170, std::ref(affine));
  EXPECT_EQ(choice.micro_batch, 7);
  EXPECT_EQ(choice.next_micro_batch, 0);
}

TEST(MicroBatchChoice, IsNoneWhereOneSampleIsTooMuch) {
  Affine affine;
  const MicroBatchChoice choice = choose_micro_batch(8, 109, std::ref(affine));
  EXPECT_EQ(choice.micro_batch, 0);
  EXPECT_EQ(choice.next_bytes, 110);
  EXPECT_THAT(affine.asked, testing::ElementsAre(1));
}

// What is measured counts, where the line promised more.
TEST(MicroBatchChoice, BelievesTheMeasurement) {
  const auto bytes_of = [](std::int64_t m) { return m < 4 ? 100 + m : 1000 * m; };
  const MicroBatchChoice choice = choose_micro_batch(8, 900, bytes_of);
  EXPECT_EQ(choice.micro_batch, 2);
  EXPECT_EQ(choice.next_micro_batch, 4);
  EXPECT_EQ(choice.next_bytes, 4000);
}

}  // namespace
}  // namespace muster::internal
