// float16 and bfloat16 as bits: to double and from it.
#ifndef MUSTER_CHECKPOINT_SRC_FLOAT_BITS_H_
#define MUSTER_CHECKPOINT_SRC_FLOAT_BITS_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace muster::checkpoint::internal {

// IEEE 754 binary16: 1 sign bit, 5 exponent bits, 10 fraction bits.
inline double half_to_double(std::uint16_t bits) {
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
inline double bfloat16_to_double(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// To the float below in magnitude, with the last bit set where that loses something: rounded to
/// fewer bits later on, the result is that of rounding once (Boldo and Melquiond, 2008).
inline float to_odd_float(double value) {
  const auto nearest = static_cast<float>(value);
  if (nearest == value || std::isnan(value)) return nearest;
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  if (std::abs(static_cast<double>(nearest)) > std::abs(value)) --bits;
  return std::bit_cast<float>(bits | 1);
}

inline std::uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000;
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const auto with_sign = [&](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };
  if (magnitude > 0x7f800000) return with_sign(0x7e00 | ((magnitude >> 13) & 0x3ff));  // NaN
  if (magnitude >= 0x477ff000) return with_sign(0x7c00);  // from 65520, which rounds up
  if (magnitude < 0x38800000) {
    // Subnormal: 0.5 has the last bit of weight 2^-24, so the addition itself rounds.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return with_sign(std::bit_cast<std::uint32_t>(sum) - 0x3f000000);
  }
  const std::uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return with_sign((rounded - (112u << 23)) >> 13);  // exponent bias 127 to 15
}

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_FLOAT_BITS_H_
