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

inline float combine_sum(float a, float b) { return a + b; }
inline double combine_sum(double a, double b) { return a + b; }
inline std::int64_t combine_sum(std::int64_t a, std::int64_t b) {  // wraps around
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

template <typename T>
inline bool is_nan(T value) {
  return value != value;
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
inline T one_nan(T value) {
  return is_nan(value) ? std::numeric_limits<T>::quiet_NaN() : value;
}
inline std::int64_t one_nan(std::int64_t value) { return value; }

}  // namespace

// `ivdep`: an output is either one of the inputs at the same index or overlaps none, so iterations
// are independent.
#define MUSTER_DEFINE_LOOPS(T, Name, combine)                                                 \
  MUSTER_VECTOR_VERSIONS void Name##_2(const T* a, const T* b, T* out, std::int64_t n) {      \
    _Pragma("GCC ivdep") for (std::int64_t i = 0; i < n; ++i) out[i] = combine(a[i], b[i]);   \
  }                                                                                           \
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

MUSTER_DEFINE_LOOPS(float, sum_float, combine_sum)
MUSTER_DEFINE_LOOPS(float, min_float, combine_min)
MUSTER_DEFINE_LOOPS(float, max_float, combine_max)
MUSTER_DEFINE_LOOPS(double, sum_double, combine_sum)
MUSTER_DEFINE_LOOPS(double, min_double, combine_min)
MUSTER_DEFINE_LOOPS(double, max_double, combine_max)
MUSTER_DEFINE_LOOPS(std::int64_t, sum_int64, combine_sum)
MUSTER_DEFINE_LOOPS(std::int64_t, min_int64, combine_min)
MUSTER_DEFINE_LOOPS(std::int64_t, max_int64, combine_max)

#undef MUSTER_DEFINE_LOOPS

MUSTER_VECTOR_VERSIONS void unify_nan_float(float* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] = one_nan(values[i]);
}
MUSTER_VECTOR_VERSIONS void unify_nan_double(double* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) values[i] = one_nan(values[i]);
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

namespace {

template <typename T>
struct Loops {
  void (*two)(const T*, const T*, T*, std::int64_t);
  void (*two_last)(const T*, const T*, T*, std::int64_t);
  void (*two_last_twice)(const T*, const T*, T*, T*, std::int64_t);
  void (*four_last)(const T*, const T*, const T*, const T*, T*, std::int64_t);
};

#define MUSTER_LOOPS_OF(T, suffix)                                                  \
  [[maybe_unused]] Loops<T> loops_of(Combine combine, const T*) {                   \
    if (combine == Combine::kMin) {                                                 \
      return {min_##suffix##_2, min_##suffix##_2_last, min_##suffix##_2_last_twice, \
              min_##suffix##_4_last};                                               \
    }                                                                               \
    if (combine == Combine::kMax) {                                                 \
      return {max_##suffix##_2, max_##suffix##_2_last, max_##suffix##_2_last_twice, \
              max_##suffix##_4_last};                                               \
    }                                                                               \
    return {sum_##suffix##_2, sum_##suffix##_2_last, sum_##suffix##_2_last_twice,   \
            sum_##suffix##_4_last};                                                 \
  }

MUSTER_LOOPS_OF(float, float)
MUSTER_LOOPS_OF(double, double)
MUSTER_LOOPS_OF(std::int64_t, int64)

#undef MUSTER_LOOPS_OF

void unify_nan(float* values, std::int64_t n) { unify_nan_float(values, n); }
void unify_nan(double* values, std::int64_t n) { unify_nan_double(values, n); }
void unify_nan(std::int64_t*, std::int64_t) {}

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
    unify_nan(out, n);
    return;
  }
  if (balanced_four) {
    loops.four_last(source(0), source(1), source(2), source(3), out, n);
    return;
  }
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

// Between two ranks, the commonest case: both results are stored while they are in registers.
template <typename T>
bool reduce_two_for_two(const ReducePlan& plan, const Loops<T>& loops,
                        std::span<const std::byte* const> sources,
                        std::span<std::byte* const> destinations, std::int64_t numel) {
  if (plan.sources != 2 || destinations.size() != 2) return false;
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

// bfloat16: all sources of a block are widened first, so that rounding happens once, at the end.
void reduce_bfloat16(const ReducePlan& plan, std::span<const std::byte* const> sources,
                     std::span<std::byte* const> destinations, std::int64_t numel) {
  const Loops<float> loops = loops_of(plan.combine, static_cast<const float*>(nullptr));
  const bool balanced_four = is_balanced_four(plan);
  Slots<float> slots;
  std::vector<std::array<float, kBlockNumel>> widened(sources.size());
  std::array<float, kBlockNumel> result;
  for (std::int64_t begin = 0; begin < numel; begin += kBlockNumel) {
    const std::int64_t n = std::min(kBlockNumel, numel - begin);
    for (std::size_t s = 0; s < sources.size(); ++s) {
      widen_bfloat16(reinterpret_cast<const std::uint16_t*>(sources[s]) + begin, widened[s].data(),
                     n);
    }
    const auto source = [&](int s) -> const float* {
      return widened[static_cast<std::size_t>(s)].data();
    };
    combine_block<float>(plan, loops, balanced_four, source, slots, result.data(), n);
    for (std::byte* destination : destinations) {
      round_to_bfloat16(result.data(), reinterpret_cast<std::uint16_t*>(destination) + begin, n);
    }
  }
}

}  // namespace

std::vector<Addition> left_to_right(int sources) {
  std::vector<Addition> additions;
  for (int s = 1; s < sources; ++s) additions.push_back({s == 1 ? 0 : sources, s, sources});
  return additions;
}

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
    case DType::kInt64:
      return reduce_native<std::int64_t>(plan, sources, destinations, numel);
    case DType::kBFloat16:
      return reduce_bfloat16(plan, sources, destinations, numel);
    default:
      MUSTER_CHECK(false) << "no kernel for dtype " << dtype_name(plan.dtype);
  }
}

}  // namespace muster::internal
