// Numbers of every dtype against values known exactly.
#include "largest_difference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace muster::launcher {
namespace {

template <typename T>
double difference(DType dtype, std::vector<T> a, std::vector<T> b) {
  return largest_difference(dtype, reinterpret_cast<const std::byte*>(a.data()),
                            reinterpret_cast<const std::byte*>(b.data()),
                            static_cast<std::int64_t>(a.size()));
}

TEST(LargestDifferenceTest, EveryDtype) {
  EXPECT_EQ(difference<float>(DType::kFloat32, {1, 2, 3}, {1, 2.5f, 1}), 2);
  EXPECT_EQ(difference<double>(DType::kFloat64, {1, -2}, {1.25, -2}), 0.25);
  // Halves: 1.0, 2.0, the smallest subnormal 2^-24, the largest finite 65504.
  EXPECT_EQ(difference<std::uint16_t>(DType::kFloat16, {0x3c00}, {0x4000}), 1);
  EXPECT_EQ(difference<std::uint16_t>(DType::kFloat16, {0x0001}, {0x8001}), std::ldexp(1, -23));
  EXPECT_EQ(difference<std::uint16_t>(DType::kFloat16, {0x7bff}, {0x0000}), 65504);
  EXPECT_EQ(difference<std::uint16_t>(DType::kBFloat16, {0x3f80}, {0xbf80}), 2);
  EXPECT_EQ(difference<std::int8_t>(DType::kInt8, {-100}, {100}), 200);
  EXPECT_EQ(difference<std::int16_t>(DType::kInt16, {-1}, {1}), 2);
  EXPECT_EQ(difference<std::int32_t>(DType::kInt32, {5}, {2}), 3);
  EXPECT_EQ(difference<std::int64_t>(DType::kInt64, {1LL << 40}, {0}), std::ldexp(1, 40));
  EXPECT_EQ(difference<std::uint8_t>(DType::kUInt8, {255}, {0}), 255);
  EXPECT_EQ(difference<std::uint8_t>(DType::kBool, {1, 0}, {1, 1}), 1);
}

TEST(LargestDifferenceTest, EqualBitsDifferByNothing) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(difference<float>(DType::kFloat32, {infinity, nan, 1}, {infinity, nan, 1}), 0);
}

TEST(LargestDifferenceTest, NaNAgainstANumberIsNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(difference<float>(DType::kFloat32, {1, nan}, {100, 1})));
  EXPECT_TRUE(std::isnan(difference<std::uint16_t>(DType::kFloat16, {0x7c00}, {0x0000})));
}

}  // namespace
}  // namespace muster::launcher
