// Combining values of several sources, element by element: one code for GPUs and for the tests that
// run it on a CPU. Its bits are those of reduce_kernels.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_COMBINE_ELEMENT_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_COMBINE_ELEMENT_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "device/combine_program.h"
#include "muster/base/host_device.h"

namespace muster::internal {

template <typename To, typename From>
MUSTER_HOST_DEVICE inline To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

/// How elements are stored, and the type in which they are combined.
template <typename T>
struct PlainCodec {
  using Stored = T;
  using Wide = T;
  MUSTER_HOST_DEVICE static Wide widen(Stored value) { return value; }
  MUSTER_HOST_DEVICE static Stored narrow(Wide value) { return value; }
};

struct BFloat16Codec {
  using Stored = std::uint16_t;
  using Wide = float;
  MUSTER_HOST_DEVICE static Wide widen(Stored value) {
    return same_bits<float>(static_cast<std::uint32_t>(value) << 16);
  }
  // To nearest, ties to even: adds half of the last kept place, less one when that place is even.
  MUSTER_HOST_DEVICE static Stored narrow(Wide value) {
    if (value != value) return 0x7fc0u;
    const auto bits = same_bits<std::uint32_t>(value);
    return static_cast<Stored>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
};

struct Float16Codec {
  using Stored = std::uint16_t;
  using Wide = float;
  // A subnormal m * 2^-24 is made as (0.5 + m * 2^-24) - 0.5.
  MUSTER_HOST_DEVICE static Wide widen(Stored value) {
    const std::uint32_t magnitude = value & 0x7fffu;
    std::uint32_t bits = (magnitude << 13) + (112u << 23);
    if (magnitude >= 0x7c00u) bits = (magnitude << 13) | 0x7f800000u;
    if (magnitude < 0x0400u) {
      bits = same_bits<std::uint32_t>(same_bits<float>(0x3f000000u | magnitude) - 0.5f);
    }
    return same_bits<float>(bits | static_cast<std::uint32_t>(value & 0x8000u) << 16);
  }
  // To nearest, ties to even; below 2^-14 by the addition of 0.5, above by that of half a place.
  MUSTER_HOST_DEVICE static Stored narrow(Wide value) {
    if (value != value) return 0x7e00u;
    const auto bits = same_bits<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    std::uint32_t rounded = (magnitude - (112u << 23) + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
    if (magnitude >= 0x47800000u) rounded = 0x7c00u;
    if (magnitude < 0x38800000u) {
      rounded = same_bits<std::uint32_t>(same_bits<float>(magnitude) + 0.5f) - 0x3f000000u;
    }
    return static_cast<Stored>(rounded | ((bits >> 16) & 0x8000u));
  }
};

template <typename T>
MUSTER_HOST_DEVICE inline bool is_nan_value([[maybe_unused]] T value) {
  if constexpr (std::is_floating_point_v<T>) return value != value;
  return false;
}

/// a = b combined with a, for each lane; b comes from the left.
template <typename T, int kLanes>
MUSTER_HOST_DEVICE inline void combine_from_left(Combine combine, const T (&b)[kLanes],
                                                 T (&a)[kLanes]) {
  // Integers wrap around: in 64 bits, where neither the promotion of small types nor a sign
  // overflows.
  using Sum = std::conditional_t<std::is_floating_point_v<T>, T, std::uint64_t>;
  switch (combine) {
    case Combine::kSum:
      for (int i = 0; i < kLanes; ++i) {
        a[i] = static_cast<T>(static_cast<Sum>(b[i]) + static_cast<Sum>(a[i]));
      }
      return;
    case Combine::kProduct:
      for (int i = 0; i < kLanes; ++i) {
        a[i] = static_cast<T>(static_cast<Sum>(b[i]) * static_cast<Sum>(a[i]));
      }
      return;
    case Combine::kMin:
      for (int i = 0; i < kLanes; ++i) a[i] = b[i] < a[i] || is_nan_value(b[i]) ? b[i] : a[i];
      return;
    case Combine::kMax:
      for (int i = 0; i < kLanes; ++i) a[i] = b[i] > a[i] || is_nan_value(b[i]) ? b[i] : a[i];
      return;
    case Combine::kBitAnd:
      if constexpr (std::is_integral_v<T>) {
        for (int i = 0; i < kLanes; ++i) a[i] = static_cast<T>(b[i] & a[i]);
      }
      return;
    case Combine::kBitOr:
      if constexpr (std::is_integral_v<T>) {
        for (int i = 0; i < kLanes; ++i) a[i] = static_cast<T>(b[i] | a[i]);
      }
      return;
  }
}

MUSTER_HOST_DEVICE inline float quiet_nan(float) { return same_bits<float>(0x7fc00000u); }
MUSTER_HOST_DEVICE inline double quiet_nan(double) {
  return same_bits<double>(static_cast<std::uint64_t>(0x7ff8000000000000u));
}

/// The average where there is one; every NaN becomes the same quiet NaN.
template <typename T>
MUSTER_HOST_DEVICE inline T finished_value(T value, [[maybe_unused]] int divisor) {
  if constexpr (std::is_floating_point_v<T>) {
    if (divisor != 1) value = value / static_cast<T>(divisor);
    if (value != value) return quiet_nan(value);
  }
  return value;
}

/// kLanes neighbouring elements of the result. `load(s, in)` reads those of source s.
template <typename Codec, int kLanes, typename Load>
MUSTER_HOST_DEVICE inline void combine_elements(const CombineProgram& program, const Load& load,
                                                typename Codec::Stored (&result)[kLanes]) {
  using Wide = typename Codec::Wide;
  Wide stack[kMaxCombineStack][kLanes];
  Wide top[kLanes];
  const auto take = [&](int s) {
    typename Codec::Stored in[kLanes];
    load(s, in);
    for (int i = 0; i < kLanes; ++i) top[i] = Codec::widen(in[i]);
  };
  take(0);
  int depth = 0;
  for (int s = 1; s < program.sources; ++s) {
    for (int i = 0; i < kLanes; ++i) stack[depth][i] = top[i];
    ++depth;
    take(s);
    for (int k = program.combinations_after[s]; k > 0; --k) {
      combine_from_left<Wide, kLanes>(program.combine, stack[--depth], top);
    }
  }
  for (int i = 0; i < kLanes; ++i) {
    result[i] = Codec::narrow(finished_value(top[i], program.divisor));
  }
}

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_COMBINE_ELEMENT_H_
