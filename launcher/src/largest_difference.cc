// Elements of every dtype as doubles, and their differences.
#include "largest_difference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "muster/base/check.h"

namespace muster::launcher {
namespace {

constexpr std::int64_t kPieceBytes = 1 << 20;

template <typename T>
T load(const std::byte* element) {
  T value;
  std::memcpy(&value, element, sizeof value);
  return value;
}

// IEEE 754 binary16: 1 sign bit, 5 exponent bits, 10 fraction bits.
double half_to_double(std::uint16_t bits) {
  const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  if (exponent == 0x1f) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, exponent - 25);
}

// The upper half of a float.
double bfloat16_to_double(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

double element_value(DType dtype, const std::byte* element) {
  switch (dtype) {
    case DType::kFloat32:
      return load<float>(element);
    case DType::kFloat64:
      return load<double>(element);
    case DType::kFloat16:
      return half_to_double(load<std::uint16_t>(element));
    case DType::kBFloat16:
      return bfloat16_to_double(load<std::uint16_t>(element));
    case DType::kInt8:
      return load<std::int8_t>(element);
    case DType::kInt16:
      return load<std::int16_t>(element);
    case DType::kInt32:
      return load<std::int32_t>(element);
    case DType::kInt64:
      return static_cast<double>(load<std::int64_t>(element));
    case DType::kUInt8:
    case DType::kBool:
      return load<std::uint8_t>(element);
  }
  MUSTER_CHECK(false) << "dtype " << static_cast<int>(dtype);
  return 0;
}

}  // namespace

double largest_difference(DType dtype, const std::byte* a, const std::byte* b, std::int64_t numel) {
  const std::int64_t element_bytes = dtype_bytes(dtype);
  double largest = 0;
  for (std::int64_t i = 0; i < numel; ++i) {
    const std::byte* const in_a = a + i * element_bytes;
    const std::byte* const in_b = b + i * element_bytes;
    // Equal bits also cover equal infinities and NaNs, whose difference would be NaN.
    if (std::memcmp(in_a, in_b, static_cast<std::size_t>(element_bytes)) == 0) continue;
    const double difference = std::abs(element_value(dtype, in_a) - element_value(dtype, in_b));
    if (!std::isfinite(difference)) return std::numeric_limits<double>::quiet_NaN();
    largest = std::max(largest, difference);
  }
  return largest;
}

double largest_difference(const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b,
                          const std::string& name) {
  const checkpoint::TensorEntry& entry = a.manifest().tensors.at(name);
  const std::int64_t step = kPieceBytes / dtype_bytes(entry.dtype);
  std::vector<std::byte> piece_a(kPieceBytes), piece_b(kPieceBytes);
  double largest = 0;
  for (std::int64_t begin = 0; begin < entry.numel(); begin += step) {
    const std::int64_t end = std::min(begin + step, entry.numel());
    const checkpoint::TensorRange range{name, entry.dtype, entry.shape, begin, end};
    a.read(range, piece_a.data());
    b.read(range, piece_b.data());
    const double one = largest_difference(entry.dtype, piece_a.data(), piece_b.data(), end - begin);
    if (std::isnan(one)) return one;
    largest = std::max(largest, one);
  }
  return largest;
}

}  // namespace muster::launcher
