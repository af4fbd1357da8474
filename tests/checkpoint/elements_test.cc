// Numbers of every dtype against values known exactly.
#include "muster/checkpoint/elements.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "float_bits.h"

namespace muster::checkpoint {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

template <typename T>
Distance between(DType dtype, const std::vector<T>& a, const std::vector<T>& b) {
  return distance(dtype, a.data(), b.data(), static_cast<std::int64_t>(a.size()));
}

TEST(DistanceTest, EveryDtype) {
  EXPECT_EQ(between<float>(DType::kFloat32, {1, 2, 3}, {1, 2.5f, 1}).absolute, 2);
  EXPECT_EQ(between<double>(DType::kFloat64, {1, -2}, {1.25, -2}).absolute, 0.25);
  // Halves: 1.0, 2.0, the smallest subnormal 2^-24, the largest finite 65504.
  EXPECT_EQ(between<std::uint16_t>(DType::kFloat16, {0x3c00}, {0x4000}).absolute, 1);
  EXPECT_EQ(between<std::uint16_t>(DType::kFloat16, {0x0001}, {0x8001}).absolute,
            std::ldexp(1, -23));
  EXPECT_EQ(between<std::uint16_t>(DType::kFloat16, {0x7bff}, {0x0000}).absolute, 65504);
  EXPECT_EQ(between<std::uint16_t>(DType::kBFloat16, {0x3f80}, {0xbf80}).absolute, 2);
  EXPECT_EQ(between<std::int8_t>(DType::kInt8, {-100}, {100}).absolute, 200);
  EXPECT_EQ(between<std::int16_t>(DType::kInt16, {-1}, {1}).absolute, 2);
  EXPECT_EQ(between<std::int32_t>(DType::kInt32, {5}, {2}).absolute, 3);
  EXPECT_EQ(between<std::int64_t>(DType::kInt64, {1LL << 40}, {0}).absolute, std::ldexp(1, 40));
  EXPECT_EQ(between<std::uint8_t>(DType::kUInt8, {255}, {0}).absolute, 255);
  EXPECT_EQ(between<std::uint8_t>(DType::kBool, {1, 0}, {1, 1}).absolute, 1);
}

TEST(DistanceTest, RelativeIsByTheLargerOfEachPair) {
  const Distance apart = between<float>(DType::kFloat32, {100, 2, -1, 0.0f}, {101, 1, 1, -0.0f});
  EXPECT_EQ(apart.absolute, 2);
  EXPECT_EQ(apart.relative, 2);  // -1 against 1
  EXPECT_EQ(between<float>(DType::kFloat32, {2}, {1}).relative, 0.5);
  EXPECT_EQ(between<float>(DType::kFloat32, {0}, {5}).relative, 1);
}

TEST(DistanceTest, WhatIsNotFiniteIsCountedWhereTheBitsDiffer) {
  const Distance same = between<float>(DType::kFloat32, {kInfinity, kNaN, 1}, {kInfinity, kNaN, 1});
  EXPECT_EQ(same.absolute, 0);
  EXPECT_EQ(same.not_comparable, 0);
  Distance other = between<float>(DType::kFloat32, {1, kNaN, kInfinity}, {100, 1, -kInfinity});
  EXPECT_EQ(other.not_comparable, 2);
  EXPECT_EQ(other.absolute, 99);
  other.merge({.absolute = 7, .relative = 3, .not_comparable = 1});
  EXPECT_EQ(other.absolute, 99);
  EXPECT_EQ(other.relative, 3);
  EXPECT_EQ(other.not_comparable, 3);
}

TEST(StatisticsTest, OfTheFiniteElements) {
  const std::vector<float> values = {1, 2, kNaN, 3, 4, -kInfinity, 5};
  StatisticsSum whole;
  whole.add(DType::kFloat32, values.data(), 7);
  const Statistics statistics = whole.result();
  EXPECT_EQ(statistics.finite, 5);
  EXPECT_EQ(statistics.not_finite, 2);
  EXPECT_EQ(statistics.minimum, 1);
  EXPECT_EQ(statistics.maximum, 5);
  EXPECT_EQ(statistics.mean, 3);
  EXPECT_EQ(statistics.standard_deviation, std::sqrt(2.0));
  StatisticsSum pieces;
  for (int i = 0; i < 7; ++i) pieces.add(DType::kFloat32, &values[static_cast<std::size_t>(i)], 1);
  EXPECT_DOUBLE_EQ(pieces.result().mean, 3);
  EXPECT_DOUBLE_EQ(pieces.result().standard_deviation, std::sqrt(2.0));
  EXPECT_EQ(pieces.result().minimum, 1);
}

TEST(StatisticsTest, ALargeMeanCostsNoDigits) {
  std::vector<double> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1e9 + (i % 2 == 0 ? 1 : -1);
  StatisticsSum sum;
  for (std::size_t at = 0; at < values.size(); at += 100) {
    sum.add(DType::kFloat64, &values[at], 100);
  }
  EXPECT_EQ(sum.result().standard_deviation, 1);
}

TEST(StatisticsTest, ADeviationBeyondADoubleIsInfinite) {
  const std::vector<double> values = {-4e303, 0, 1, 2};
  StatisticsSum sum;
  sum.add(DType::kFloat64, values.data(), 2);
  sum.add(DType::kFloat64, &values[2], 2);
  EXPECT_EQ(sum.result().minimum, -4e303);
  EXPECT_TRUE(std::isinf(sum.result().standard_deviation));
}

TEST(StatisticsTest, NoFiniteElementIsNaN) {
  StatisticsSum sum;
  EXPECT_TRUE(std::isnan(sum.result().mean));
  sum.add(DType::kFloat32, &kNaN, 1);
  EXPECT_TRUE(std::isnan(sum.result().minimum));
  EXPECT_EQ(sum.result().not_finite, 1);
}

/// The 16-bit float nearest to `value`, ties to even, found among all by looking.
std::uint16_t nearest(double value, double (*to_double)(std::uint16_t), std::uint16_t infinity,
                      double first_to_overflow) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::abs(value);
  if (magnitude >= first_to_overflow) return sign | infinity;
  std::uint16_t low = 0, high = infinity;
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (to_double(middle) <= magnitude ? low : high) = middle;
  }
  const double down = magnitude - to_double(low);
  const double up = (high == infinity ? first_to_overflow * 2 : to_double(high)) - magnitude;
  if (high == infinity) return sign | low;
  if (down == up) return sign | (low % 2 == 0 ? low : high);
  return sign | (down < up ? low : high);
}

std::uint16_t converted(double value, DType to) {
  std::uint16_t bits = 0;
  convert_floats(DType::kFloat64, &value, to, &bits, 1);
  return bits;
}

TEST(ConvertTest, RoundsOnceToTheNearestEven) {
  std::mt19937_64 random(1);
  std::vector<double> values = {
      0.0, -0.0, 65504, 65519.99999, 65520, -65520, 1e300, 5e-324, std::ldexp(1, -25),
      std::ldexp(1.0000001, -25),
      // Halfway but for a bit that a float cannot hold: rounding twice is wrong.
      1 + std::ldexp(1, -11) + std::ldexp(1, -40), 1 + std::ldexp(1, -11),
      1 + 3 * std::ldexp(1, -11), 1 + std::ldexp(1, -8) + std::ldexp(1, -40)};
  for (int i = 0; i < 20000; ++i) {
    const double fraction = 1 + static_cast<double>(random() >> 40) * std::ldexp(1, -24);
    values.push_back((random() & 1 ? 1 : -1) *
                     std::ldexp(fraction, static_cast<int>(random() % 60) - 30));
  }
  for (const double value : values) {
    EXPECT_EQ(converted(value, DType::kFloat16),
              nearest(value, internal::half_to_double, 0x7c00, 65520))
        << value;
    if (std::abs(value) > 1e38) continue;
    EXPECT_EQ(converted(value, DType::kBFloat16),
              nearest(value, internal::bfloat16_to_double, 0x7f80, 3.4e38))
        << value;
  }
}

TEST(ConvertTest, EveryHalfComesBackFromAFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      float single = 0;
      convert_floats(dtype, &half, DType::kFloat32, &single, 1);
      std::uint16_t back = 0;
      EXPECT_EQ(convert_floats(DType::kFloat32, &single, dtype, &back, 1), 0);
      if (std::isnan(single)) {
        convert_floats(dtype, &back, DType::kFloat32, &single, 1);
        EXPECT_TRUE(std::isnan(single));
      } else {
        EXPECT_EQ(back, half);
      }
    }
  }
}

TEST(ConvertTest, CountsWhatBecameInfinite) {
  const std::vector<double> values = {1e5, -1e39, kInfinity, kNaN, 1};
  std::vector<std::uint16_t> halves(5);
  EXPECT_EQ(convert_floats(DType::kFloat64, values.data(), DType::kFloat16, halves.data(), 5), 2);
  std::vector<float> singles(5);
  EXPECT_EQ(convert_floats(DType::kFloat64, values.data(), DType::kFloat32, singles.data(), 5), 1);
  EXPECT_EQ(convert_floats(DType::kFloat64, values.data(), DType::kBFloat16, halves.data(), 5), 1);
}

}  // namespace
}  // namespace muster::checkpoint
