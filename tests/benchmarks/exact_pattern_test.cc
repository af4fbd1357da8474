// The check of results sees a single wrong element, wherever it is.
#include "exact_pattern.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace muster::bench {
namespace {

constexpr std::int64_t kNumel = 3 * kPatternPeriod + 5;

at::Tensor filled(at::ScalarType dtype, const at::Tensor& pattern) {
  at::Tensor tensor = at::zeros({kNumel}, dtype);
  fill_with_pattern(tensor, pattern);
  return tensor;
}

TEST(ExactPattern, IsRepeatedAndRecognisedInEveryDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kChar,
                                     at::kByte, at::kShort, at::kInt, at::kLong}) {
    const at::Tensor tensor = filled(dtype, rank_pattern(3));
    EXPECT_EQ(count_wrong(tensor, {{0, kNumel, rank_pattern(3)}}), 0) << dtype;
    EXPECT_GT(count_wrong(tensor, {{0, kNumel, rank_pattern(2)}}), kNumel / 2) << dtype;
  }
}

TEST(ExactPattern, ASingleWrongElementIsSeen) {
  for (const std::int64_t at : {std::int64_t{0}, kPatternPeriod, kNumel - 1}) {
    at::Tensor tensor = filled(at::kFloat, rank_pattern(0));
    static_cast<float*>(tensor.data_ptr())[at] += 1;
    EXPECT_EQ(count_wrong(tensor, {{0, kNumel, rank_pattern(0)}}), 1) << at;
  }
}

TEST(ExactPattern, AShiftIsSeen) {
  const at::Tensor tensor = filled(at::kInt, rank_pattern(0));
  EXPECT_EQ(count_wrong(tensor, {{7, 2000, rank_pattern(0), 7}}), 0);
  EXPECT_GT(count_wrong(tensor, {{7, 2000, rank_pattern(0), 8}}), 1000);
}

TEST(ExactPattern, RangesBesideTheExpectedOnesDoNotCount) {
  at::Tensor tensor = filled(at::kInt, rank_pattern(0));
  static_cast<std::int32_t*>(tensor.data_ptr())[10] = 99;
  EXPECT_EQ(count_wrong(tensor, {{11, 100, rank_pattern(0), 11}}), 0);
  EXPECT_EQ(count_wrong(tensor, {}), 0);
}

TEST(ExactPattern, ReductionsAreThoseOfTheirNames) {
  const auto value = [](const at::Tensor& pattern) {
    return static_cast<const double*>(pattern.data_ptr())[17];
  };
  const double a = value(rank_pattern(0));
  const double b = value(rank_pattern(1));
  EXPECT_NE(a, b);  // else the next lines would show little
  EXPECT_EQ(value(combined_pattern("sum", 2)), a + b);
  EXPECT_EQ(value(combined_pattern("avg", 2)), (a + b) / 2);
  EXPECT_EQ(value(combined_pattern("min", 2)), std::min(a, b));
  EXPECT_EQ(value(combined_pattern("max", 2)), std::max(a, b));
  EXPECT_EQ(value(combined_pattern("product", 2)), a * b);
}

}  // namespace
}  // namespace muster::bench
