// Combining in blocks that stay in the first-level cache; each loop has a version for AVX-512, AVX2
// and any CPU.
#include "reduce_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "muster/base/check.h"

// The loader picks the version, by a resolver that runs before a sanitizer is ready. All versions
// give the same bits, since contraction is off.
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define MUSTER_VECTOR_VERSIONS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MUSTER_VECTOR_VERSIONS
#endif

namespace muster::internal {
namespace {

constexpr std::int64_t kBlockNumel = 1024;
constexpr int kMaxSlots =
    34;  // live intermediate values of the deepest tree over 2^31 logical ranks

template <typename T>
inline bool is_nan([[maybe_unused]] T value) {
  if constexpr (std::is_floating_point_v<T>) return value != value;
  return false;
}

template <typename T>
inline T combine_sum(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a + b;
  using Unsigned = std::make_unsigned_t<std::conditional_t<std::is_integral_v<T>, T, int>>;
  return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
}

// In 64 bits, where neither the promotion of small types nor a sign overflows.
template <typename T>
inline T combine_product(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a * b;
  return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

template <typename T>
inline T combine_min(T a, T b) {
  return a < b || is_nan(a) ? a : b;
}

template <typename T>
inline T combine_max(T a, T b) {
  return a > b || is_nan(a) ? a : b;
}

template <typename T>
inline T combine_and(T a, T b) {
  return static_cast<T>(a & b);
}

template <typename T>
inline T combine_or(T a, T b) {
  return static_cast<T>(a | b);
}

template <typename T>
inline T one_nan(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return is_nan(value) ? std::numeric_limits<T>::quiet_NaN() : value;
  }
  return value;
}

}  // namespace

// `ivdep`: an output is either one of the inputs at the same index or overlaps none, so iterations
// are independent.
#define MUSTER_DEFINE_LOOP(T, Name, combine)                                                \
  MUSTER_VECTOR_VERSIONS void Name##_2(const T* a, const T* b, T* out, std::int64_t n) {    \
    _Pragma("GCC ivdep") for (std::int64_t i = 0; i < n; ++i) out[i] = combine(a[i], b[i]); \
  }

#define MUSTER_DEFINE_FLOAT_LOOPS(T, Name, combine)                                           \
  MUSTER_DEFINE_LOOP(T, Name, combine)                                                        \
  MUSTER_VECTOR_VERSIONS void Name##_2_last(const T* a, const T* b, T* out, std::int64_t n) { \
    _Pragma("GCC ivdep") for (std::int64_t i = 0; i < n; ++i) out[i] =                        \
        one_nan(combine(a[i], b[i]));                                                         \
  }                                                                                           \
  MUSTER_VECTOR_VERSIONS void Name##_2_last_twice(const T* a, const T* b, T* out, T* out_too, \
                                                  std::int64_t n) {                           \
    _Pragma("GCC ivdep") for (std::int64_t i = 0; i < n; ++i) {                               \
      const T result = one_nan(combine(a[i], b[i]));                                          \
      out[i] = result;                                                                        \
      out_too[i] = result;                                                                    \
    }                                                                                         \
  }                                                                                           \
  MUSTER_VECTOR_VERSIONS void Name##_4_last(const T* a, const T* b, const T* c, const T* d,   \
                                            T* out, std::int64_t n) {                         \
    _Pragma("GCC ivdep") for (std::int64_t i = 0; i < n; ++i) {                               \
      out[i] = one_nan(combine(combine(a[i], b[i]), combine(c[i], d[i])));                    \
    }                                                                                         \
  }

#define MUSTER_DEFINE_FLOAT(T, suffix)                    \
  MUSTER_DEFINE_FLOAT_LOOPS(T, sum_##suffix, combine_sum) \
  MUSTER_DEFINE_FLOAT_LOOPS(T, min_##suffix, combine_min) \
  MUSTER_DEFINE_FLOAT_LOOPS(T, max_##suffix, combine_max) \
  MUSTER_DEFINE_FLOAT_LOOPS(T, product_##suffix, combine_product)

#define MUSTER_DEFINE_INTEGER(T, suffix)                   \
  MUSTER_DEFINE_LOOP(T, sum_##suffix, combine_sum)         \
  MUSTER_DEFINE_LOOP(T, min_##suffix, combine_min)         \
  MUSTER_DEFINE_LOOP(T, max_##suffix, combine_max)         \
  MUSTER_DEFINE_LOOP(T, product_##suffix, combine_product) \
  MUSTER_DEFINE_LOOP(T, and_##suffix, combine_and)         \
  MUSTER_DEFINE_LOOP(T, or_##suffix, combine_or)

MUSTER_DEFINE_FLOAT(float, float)
MUSTER_DEFINE_FLOAT(double, double)
MUSTER_DEFINE_INTEGER(std::int8_t, int8)
MUSTER_DEFINE_INTEGER(std::int16_t, int16)
MUSTER_DEFINE_INTEGER(std::int32_t, int32)
MUSTER_DEFINE_INTEGER(std::int64_t, int64)
MUSTER_DEFINE_INTEGER(std::uint8_t, uint8)

#undef MUSTER_DEFINE_INTEGER
#undef MUSTER_DEFINE_FLOAT
#undef MUSTER_DEFINE_FLOAT_LOOPS
#undef MUSTER_DEFINE_LOOP

// Divides as well, by 1 where there is nothing to divide.
MUSTER_VECTOR_VERSIONS void finish_float(float* values, float divisor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] = one_nan(values[i] / divisor);
}
MUSTER_VECTOR_VERSIONS void finish_double(double* values, double divisor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] = one_nan(values[i] / divisor);
}

MUSTER_VECTOR_VERSIONS void widen_bfloat16(const std::uint16_t* in, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(in[i]) << 16);
  }
}

// To nearest, ties to even: adds half of the last kept place, less one when that place is even.
MUSTER_VECTOR_VERSIONS void round_to_bfloat16(const float* in, std::uint16_t* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(in[i]);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    out[i] = static_cast<std::uint16_t>(is_nan(in[i]) ? 0x7fc0u : rounded);
  }
}

// Without a subnormal float32 on the way, which some CPUs are told to flush: a subnormal float16 m
// * 2^-24 is made as (0.5 + m * 2^-24) - 0.5.
MUSTER_VECTOR_VERSIONS void widen_float16(const std::uint16_t* in, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t magnitude = in[i] & 0x7fffu;
    const std::uint32_t normal = (magnitude << 13) + (112u << 23);
    const std::uint32_t special = (magnitude << 13) | 0x7f800000u;
    const std::uint32_t subnormal =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(0x3f000000u | magnitude) - 0.5f);
    const std::uint32_t bits =
        magnitude >= 0x7c00u ? special : (magnitude < 0x0400u ? subnormal : normal);
    out[i] = std::bit_cast<float>(bits | static_cast<std::uint32_t>(in[i] & 0x8000u) << 16);
  }
}

// To nearest, ties to even; below 2^-14 by the addition of 0.5, above by that of half a place.
MUSTER_VECTOR_VERSIONS void round_to_float16(const float* in, std::uint16_t* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(in[i]);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const std::uint32_t normal =
        (magnitude - (112u << 23) + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
    const std::uint32_t subnormal =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    const std::uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const std::uint32_t rounded =
        magnitude >= 0x47800000u ? special : (magnitude < 0x38800000u ? subnormal : normal);
    const std::uint32_t sign = magnitude > 0x7f800000u ? 0u : (bits >> 16) & 0x8000u;
    out[i] = static_cast<std::uint16_t>(rounded | sign);
  }
}

namespace {

/// The loops of one operation on one type. The last two may be absent.
template <typename T>
struct Loops {
  void (*two)(const T*, const T*, T*, std::int64_t) = nullptr;
  void (*two_last)(const T*, const T*, T*, std::int64_t) = nullptr;
  void (*two_last_twice)(const T*, const T*, T*, T*, std::int64_t) = nullptr;
  void (*four_last)(const T*, const T*, const T*, const T*, T*, std::int64_t) = nullptr;
};

#define MUSTER_FLOAT_LOOPS(name) \
  { name##_2, name##_2_last, name##_2_last_twice, name##_4_last }
#define MUSTER_INTEGER_LOOPS(name) \
  { name##_2, name##_2, nullptr, nullptr }

#define MUSTER_FLOAT_LOOPS_OF(T, suffix)                          \
  Loops<T> loops_of(Combine combine, const T*) {                  \
    switch (combine) {                                            \
      case Combine::kSum:                                         \
        return MUSTER_FLOAT_LOOPS(sum_##suffix);                  \
      case Combine::kMin:                                         \
        return MUSTER_FLOAT_LOOPS(min_##suffix);                  \
      case Combine::kMax:                                         \
        return MUSTER_FLOAT_LOOPS(max_##suffix);                  \
      case Combine::kProduct:                                     \
        return MUSTER_FLOAT_LOOPS(product_##suffix);              \
      default:                                                    \
        MUSTER_CHECK(false) << "bits of floats are not combined"; \
    }                                                             \
  }

#define MUSTER_INTEGER_LOOPS_OF(T, suffix)             \
  Loops<T> loops_of(Combine combine, const T*) {       \
    switch (combine) {                                 \
      case Combine::kSum:                              \
        return MUSTER_INTEGER_LOOPS(sum_##suffix);     \
      case Combine::kMin:                              \
        return MUSTER_INTEGER_LOOPS(min_##suffix);     \
      case Combine::kMax:                              \
        return MUSTER_INTEGER_LOOPS(max_##suffix);     \
      case Combine::kProduct:                          \
        return MUSTER_INTEGER_LOOPS(product_##suffix); \
      case Combine::kBitAnd:                           \
        return MUSTER_INTEGER_LOOPS(and_##suffix);     \
      case Combine::kBitOr:                            \
        return MUSTER_INTEGER_LOOPS(or_##suffix);      \
    }                                                  \
    MUSTER_CHECK(false) << "no such combination";      \
  }

MUSTER_FLOAT_LOOPS_OF(float, float)
MUSTER_FLOAT_LOOPS_OF(double, double)
MUSTER_INTEGER_LOOPS_OF(std::int8_t, int8)
MUSTER_INTEGER_LOOPS_OF(std::int16_t, int16)
MUSTER_INTEGER_LOOPS_OF(std::int32_t, int32)
MUSTER_INTEGER_LOOPS_OF(std::int64_t, int64)
MUSTER_INTEGER_LOOPS_OF(std::uint8_t, uint8)

#undef MUSTER_INTEGER_LOOPS_OF
#undef MUSTER_FLOAT_LOOPS_OF
#undef MUSTER_INTEGER_LOOPS
#undef MUSTER_FLOAT_LOOPS

void finish(float* values, int divisor, std::int64_t n) {
  finish_float(values, static_cast<float>(divisor), n);
}
void finish(double* values, int divisor, std::int64_t n) { finish_double(values, divisor, n); }
template <typename T>
void finish(T*, int divisor, std::int64_t) {
  MUSTER_CHECK_EQ(divisor, 1) << "integers are not divided";
}

// Intermediate values of one block.
template <typename T>
using Slots = std::array<std::array<T, kBlockNumel>, kMaxSlots>;

bool is_balanced_four(const ReducePlan& plan) {
  return plan.sources == 4 &&
         plan.additions == std::vector<Addition>{{0, 1, 4}, {2, 3, 5}, {4, 5, 4}};
}

// One block of `n` elements into `out`. `source(s)` is where source s's block lies.
template <typename T, typename Source>
void combine_block(const ReducePlan& plan, const Loops<T>& loops, bool balanced_four,
                   const Source& source, Slots<T>& slots, T* out, std::int64_t n) {
  if (plan.additions.empty()) {
    const T* only = source(0);
    if (only != out) std::memcpy(out, only, static_cast<std::size_t>(n) * sizeof(T));
    finish(out, plan.divisor, n);
    return;
  }
  if (balanced_four && loops.four_last != nullptr) {
    loops.four_last(source(0), source(1), source(2), source(3), out, n);
  } else {
    const auto value = [&](int index) -> const T* {
      if (index < plan.sources) return source(index);
      return slots[static_cast<std::size_t>(index - plan.sources)].data();
    };
    for (std::size_t a = 0; a + 1 < plan.additions.size(); ++a) {
      const Addition& addition = plan.additions[a];
      T* into = slots[static_cast<std::size_t>(addition.into - plan.sources)].data();
      loops.two(value(addition.left), value(addition.right), into, n);
    }
    const Addition& last = plan.additions.back();
    loops.two_last(value(last.left), value(last.right), out, n);
  }
  if (plan.divisor != 1) finish(out, plan.divisor, n);
}

// Between two ranks, the commonest case: both results are stored while they are in registers.
template <typename T>
bool reduce_two_for_two(const ReducePlan& plan, const Loops<T>& loops,
                        std::span<const std::byte* const> sources,
                        std::span<std::byte* const> destinations, std::int64_t numel) {
  if (plan.sources != 2 || destinations.size() != 2 || plan.divisor != 1 ||
      loops.two_last_twice == nullptr) {
    return false;
  }
  loops.two_last_twice(
      reinterpret_cast<const T*>(sources[0]), reinterpret_cast<const T*>(sources[1]),
      reinterpret_cast<T*>(destinations[0]), reinterpret_cast<T*>(destinations[1]), numel);
  return true;
}

template <typename T>
void reduce_native(const ReducePlan& plan, std::span<const std::byte* const> sources,
                   std::span<std::byte* const> destinations, std::int64_t numel) {
  const Loops<T> loops = loops_of(plan.combine, static_cast<const T*>(nullptr));
  if (reduce_two_for_two(plan, loops, sources, destinations, numel)) return;
  const bool balanced_four = is_balanced_four(plan);
  Slots<T> slots;
  for (std::int64_t begin = 0; begin < numel; begin += kBlockNumel) {
    const std::int64_t n = std::min(kBlockNumel, numel - begin);
    const auto source = [&](int s) {
      return reinterpret_cast<const T*>(sources[static_cast<std::size_t>(s)]) + begin;
    };
    T* first = reinterpret_cast<T*>(destinations[0]) + begin;
    combine_block<T>(plan, loops, balanced_four, source, slots, first, n);
    for (std::byte* destination : destinations.subspan(1)) {
      std::memcpy(reinterpret_cast<T*>(destination) + begin, first,
                  static_cast<std::size_t>(n) * sizeof(T));
    }
  }
}

/// How 16-bit floats become float32 and back.
struct HalfFormat {
  void (*widen)(const std::uint16_t*, float*, std::int64_t);
  void (*round)(const float*, std::uint16_t*, std::int64_t);
};

// All sources of a block are widened first, so that rounding happens once, at the end.
void reduce_half(const HalfFormat& format, const ReducePlan& plan,
                 std::span<const std::byte* const> sources,
                 std::span<std::byte* const> destinations, std::int64_t numel) {
  const Loops<float> loops = loops_of(plan.combine, static_cast<const float*>(nullptr));
  const bool balanced_four = is_balanced_four(plan);
  Slots<float> slots;
  std::vector<std::array<float, kBlockNumel>> widened(sources.size());
  std::array<float, kBlockNumel> result;
  for (std::int64_t begin = 0; begin < numel; begin += kBlockNumel) {
    const std::int64_t n = std::min(kBlockNumel, numel - begin);
    for (std::size_t s = 0; s < sources.size(); ++s) {
      format.widen(reinterpret_cast<const std::uint16_t*>(sources[s]) + begin, widened[s].data(),
                   n);
    }
    const auto source = [&](int s) -> const float* {
      return widened[static_cast<std::size_t>(s)].data();
    };
    combine_block<float>(plan, loops, balanced_four, source, slots, result.data(), n);
    for (std::byte* destination : destinations) {
      format.round(result.data(), reinterpret_cast<std::uint16_t*>(destination) + begin, n);
    }
  }
}

}  // namespace

void reduce(const ReducePlan& plan, std::span<const std::byte* const> sources,
            std::span<std::byte* const> destinations, std::int64_t numel) {
  MUSTER_CHECK_EQ(plan.sources, sources.size());
  MUSTER_CHECK_EQ(plan.additions.size() + 1, sources.size());
  MUSTER_CHECK(!destinations.empty());
  switch (plan.dtype) {
    case DType::kFloat32:
      return reduce_native<float>(plan, sources, destinations, numel);
    case DType::kFloat64:
      return reduce_native<double>(plan, sources, destinations, numel);
    case DType::kFloat16:
      return reduce_half({widen_float16, round_to_float16}, plan, sources, destinations, numel);
    case DType::kBFloat16:
      return reduce_half({widen_bfloat16, round_to_bfloat16}, plan, sources, destinations, numel);
    case DType::kInt8:
      return reduce_native<std::int8_t>(plan, sources, destinations, numel);
    case DType::kInt16:
      return reduce_native<std::int16_t>(plan, sources, destinations, numel);
    case DType::kInt32:
      return reduce_native<std::int32_t>(plan, sources, destinations, numel);
    case DType::kInt64:
      return reduce_native<std::int64_t>(plan, sources, destinations, numel);
    case DType::kUInt8:
      return reduce_native<std::uint8_t>(plan, sources, destinations, numel);
    case DType::kBool:
      break;
  }
  MUSTER_CHECK(false) << "no kernel for dtype " << dtype_name(plan.dtype);
}

}  // namespace muster::internal
