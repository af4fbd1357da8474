// One loop a dtype, over values as doubles.
#include "muster/checkpoint/elements.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>

#include "float_bits.h"
#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::checkpoint {
namespace {

template <typename T>
T load(const void* data, std::int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(data) + index * std::int64_t{sizeof(T)},
              sizeof(T));
  return value;
}

template <typename T>
void store(void* data, std::int64_t index, T value) {
  std::memcpy(static_cast<std::byte*>(data) + index * std::int64_t{sizeof(T)}, &value, sizeof(T));
}

/// Calls `action` with a function (data, index) -> double for elements of `dtype`.
template <typename Action>
auto with_values(DType dtype, Action action) {
  const auto plain = [&]<typename T>(T) {
    return action(
        [](const void* data, std::int64_t i) { return static_cast<double>(load<T>(data, i)); });
  };
  switch (dtype) {
    case DType::kFloat32:
      return plain(float{});
    case DType::kFloat64:
      return plain(double{});
    case DType::kFloat16:
      return action([](const void* data, std::int64_t i) {
        return internal::half_to_double(load<std::uint16_t>(data, i));
      });
    case DType::kBFloat16:
      return action([](const void* data, std::int64_t i) {
        return internal::bfloat16_to_double(load<std::uint16_t>(data, i));
      });
    case DType::kInt8:
      return plain(std::int8_t{});
    case DType::kInt16:
      return plain(std::int16_t{});
    case DType::kInt32:
      return plain(std::int32_t{});
    case DType::kInt64:
      return plain(std::int64_t{});
    case DType::kUInt8:
    case DType::kBool:
      return plain(std::uint8_t{});
  }
  throw InternalError("expected a known dtype, found number " +
                      std::to_string(static_cast<int>(dtype)));
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

// Two passes over each piece, which is in the cache, and Chan's formula to join pieces: a sum of
// squares alone would lose all digits where the mean is large.
void StatisticsSum::add(DType dtype, const void* data, std::int64_t numel) {
  with_values(dtype, [&](auto value_at) {
    std::int64_t count = 0;
    double sum = 0;
    double least = kInfinity;
    double most = -kInfinity;
    for (std::int64_t i = 0; i < numel; ++i) {
      const double value = value_at(data, i);
      if (!std::isfinite(value)) continue;
      ++count;
      sum += value;
      least = std::min(least, value);
      most = std::max(most, value);
    }
    not_finite_ += numel - count;
    if (count == 0) return;
    const double mean = sum / static_cast<double>(count);
    double squares = 0;
    for (std::int64_t i = 0; i < numel; ++i) {
      const double value = value_at(data, i);
      if (std::isfinite(value)) squares += (value - mean) * (value - mean);
    }
    minimum_ = finite_ == 0 ? least : std::min(minimum_, least);
    maximum_ = finite_ == 0 ? most : std::max(maximum_, most);
    const double share = static_cast<double>(count) / static_cast<double>(finite_ + count);
    const double delta = mean - mean_;
    squares_ += squares + delta * delta * share * static_cast<double>(finite_);
    mean_ += delta * share;
    finite_ += count;
  });
}

Statistics StatisticsSum::result() const {
  if (finite_ == 0) return {0, not_finite_, kNaN, kNaN, kNaN, kNaN};
  const double variance = squares_ / static_cast<double>(finite_);
  return {.finite = finite_,
          .not_finite = not_finite_,
          .minimum = minimum_,
          .maximum = maximum_,
          .mean = mean_,
          .standard_deviation = std::isnan(variance) ? kInfinity : std::sqrt(variance)};
}

void Distance::merge(const Distance& other) {
  absolute = std::max(absolute, other.absolute);
  relative = std::max(relative, other.relative);
  not_comparable += other.not_comparable;
}

Distance distance(DType dtype, const void* a, const void* b, std::int64_t numel) {
  const std::int64_t element_bytes = dtype_bytes(dtype);
  return with_values(dtype, [&](auto value_at) {
    Distance result;
    for (std::int64_t i = 0; i < numel; ++i) {
      // Equal bits also cover equal infinities and NaNs, whose difference would be NaN.
      if (std::memcmp(static_cast<const std::byte*>(a) + i * element_bytes,
                      static_cast<const std::byte*>(b) + i * element_bytes,
                      static_cast<std::size_t>(element_bytes)) == 0) {
        continue;
      }
      const double in_a = value_at(a, i);
      const double in_b = value_at(b, i);
      if (!std::isfinite(in_a) || !std::isfinite(in_b)) {
        ++result.not_comparable;
        continue;
      }
      const double apart = std::abs(in_a - in_b);
      result.absolute = std::max(result.absolute, apart);
      // 0 against -0 is other bits and no distance.
      if (apart > 0)
        result.relative =
            std::max(result.relative, apart / std::max(std::abs(in_a), std::abs(in_b)));
    }
    return result;
  });
}

bool is_float(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 ||
         dtype == DType::kBFloat16;
}

namespace {

template <typename ValueAt>
std::int64_t convert(ValueAt value_at, const void* from, DType to_dtype, void* to,
                     std::int64_t numel) {
  std::int64_t overflows = 0;
  const auto each = [&](auto converted) {
    for (std::int64_t i = 0; i < numel; ++i) {
      const double value = value_at(from, i);
      if (converted(i, value) && std::isfinite(value)) ++overflows;
    }
  };
  switch (to_dtype) {
    case DType::kFloat64:
      each([&](std::int64_t i, double value) {
        store(to, i, value);
        return false;
      });
      break;
    case DType::kFloat32:
      each([&](std::int64_t i, double value) {
        const auto single = static_cast<float>(value);
        store(to, i, single);
        return std::isinf(single);
      });
      break;
    case DType::kFloat16:
      each([&](std::int64_t i, double value) {
        const std::uint16_t half = internal::float_to_half(internal::to_odd_float(value));
        store(to, i, half);
        return (half & 0x7fff) == 0x7c00;
      });
      break;
    default:
      each([&](std::int64_t i, double value) {
        const std::uint16_t brain = internal::float_to_bfloat16(internal::to_odd_float(value));
        store(to, i, brain);
        return (brain & 0x7fff) == 0x7f80;
      });
  }
  return overflows;
}

}  // namespace

std::int64_t convert_floats(DType from_dtype, const void* from, DType to_dtype, void* to,
                            std::int64_t numel) {
  MUSTER_CHECK(is_float(from_dtype) && is_float(to_dtype))
      << dtype_name(from_dtype) << " to " << dtype_name(to_dtype);
  return with_values(from_dtype,
                     [&](auto value_at) { return convert(value_at, from, to_dtype, to, numel); });
}

}  // namespace muster::checkpoint
