// The loops against scalar arithmetic: every dtype, operation, number of sources and cut.
#include "reduce_kernels.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "muster/base/hash.h"

namespace muster::internal {
namespace {

template <typename T>
T scalar_combine(Combine combine, T a, T b) {
  if constexpr (std::is_integral_v<T>) {  // wraps around
    const auto x = static_cast<std::uint64_t>(a), y = static_cast<std::uint64_t>(b);
    if (combine == Combine::kSum) return static_cast<T>(x + y);
    if (combine == Combine::kProduct) return static_cast<T>(x * y);
    if (combine == Combine::kBitAnd) return static_cast<T>(a & b);
    if (combine == Combine::kBitOr) return static_cast<T>(a | b);
  } else {
    if (combine == Combine::kSum) return a + b;
    if (combine == Combine::kProduct) return a * b;
  }
  if (a != a) return a;
  if (b != b) return b;
  return combine == Combine::kMin ? std::min(a, b) : std::max(a, b);
}

template <typename T>
std::vector<std::vector<T>> random_sources(int sources, std::int64_t numel) {
  std::mt19937_64 random(static_cast<unsigned>(sources * 1000 + numel));
  std::vector<std::vector<T>> all;
  for (int s = 0; s < sources; ++s) {
    std::vector<T> values;
    for (std::int64_t i = 0; i < numel; ++i) {
      if constexpr (std::is_integral_v<T>) {
        values.push_back(static_cast<T>(random()));
      } else {
        // One after the other: compilers differ in which argument of a call comes first.
        const int exponent = static_cast<int>(random() % 9) - 4;
        const double mantissa = static_cast<double>(random() % 10007) - 5003.0;
        values.push_back(static_cast<T>(std::ldexp(mantissa, exponent)));
      }
    }
    all.push_back(std::move(values));
  }
  return all;
}

template <typename T>
std::vector<const std::byte*> addresses(const std::vector<std::vector<T>>& sources) {
  std::vector<const std::byte*> all;
  for (const auto& source : sources) {
    all.push_back(reinterpret_cast<const std::byte*>(source.data()));
  }
  return all;
}

// ((0 + 1) + 2) + ...
std::vector<Addition> left_to_right(int sources) {
  std::vector<Addition> additions;
  for (int s = 1; s < sources; ++s) additions.push_back({s == 1 ? 0 : sources, s, sources});
  return additions;
}

ReducePlan plan_for(Combine combine, DType dtype, int sources, bool tree) {
  if (!tree) return {combine, dtype, sources, left_to_right(sources)};
  std::vector<LogicalRange> leaves;
  for (int s = 0; s < sources; ++s) leaves.push_back({s, s + 1});
  return {combine, dtype, sources, ReductionTree(sources).schedule(leaves)};
}

// Follows the plan one element at a time, in float32 for bfloat16.
template <typename T, typename Wide>
T scalar_result(const ReducePlan& plan, const std::vector<std::vector<T>>& sources, std::size_t i) {
  std::vector<Wide> values(static_cast<std::size_t>(plan.sources) + 40);
  for (std::size_t s = 0; s < sources.size(); ++s) values[s] = static_cast<Wide>(sources[s][i]);
  Wide result = values[0];
  for (const Addition& addition : plan.additions) {
    result = scalar_combine<Wide>(plan.combine, values[static_cast<std::size_t>(addition.left)],
                                  values[static_cast<std::size_t>(addition.right)]);
    values[static_cast<std::size_t>(addition.into)] = result;
  }
  return static_cast<T>(plan.divisor == 1 ? result : static_cast<Wide>(result / plan.divisor));
}

template <typename T>
std::vector<Combine> combines() {
  std::vector<Combine> all = {Combine::kSum, Combine::kMin, Combine::kMax, Combine::kProduct};
  if constexpr (std::is_integral_v<T>) all.insert(all.end(), {Combine::kBitAnd, Combine::kBitOr});
  return all;
}

template <typename T, typename Wide>
void check_dtype(DType dtype) {
  for (const Combine combine : combines<T>()) {
    for (const int sources : {1, 2, 3, 4, 5, 8, 13}) {
      for (const std::int64_t numel : {0, 1, 63, 64, 65, 1023, 1024, 1025, 4099}) {
        for (const bool tree : {false, true}) {
          const ReducePlan plan = plan_for(combine, dtype, sources, tree);
          const auto inputs = random_sources<T>(sources, numel);
          std::vector<T> first(static_cast<std::size_t>(numel));
          std::vector<T> second(static_cast<std::size_t>(numel));
          std::byte* const outputs[] = {reinterpret_cast<std::byte*>(first.data()),
                                        reinterpret_cast<std::byte*>(second.data())};
          reduce(plan, addresses(inputs), outputs, numel);
          for (std::size_t i = 0; i < first.size(); ++i) {
            const T expected = scalar_result<T, Wide>(plan, inputs, i);
            ASSERT_TRUE(first[i] == expected || (first[i] != first[i] && expected != expected))
                << first[i] << " and not " << expected << ", " << dtype_name(dtype) << ", "
                << sources << " sources, element " << i << " of " << numel;
          }
          ASSERT_TRUE(first.empty() ||
                      std::memcmp(first.data(), second.data(), first.size() * sizeof(T)) == 0);
        }
      }
    }
  }
}

TEST(ReduceKernels, Float32) { check_dtype<float, float>(DType::kFloat32); }
TEST(ReduceKernels, Float64) { check_dtype<double, double>(DType::kFloat64); }
TEST(ReduceKernels, Int64) { check_dtype<std::int64_t, std::int64_t>(DType::kInt64); }
TEST(ReduceKernels, Int32) { check_dtype<std::int32_t, std::int32_t>(DType::kInt32); }
TEST(ReduceKernels, Int16) { check_dtype<std::int16_t, std::int16_t>(DType::kInt16); }
TEST(ReduceKernels, Int8) { check_dtype<std::int8_t, std::int8_t>(DType::kInt8); }
TEST(ReduceKernels, UInt8) { check_dtype<std::uint8_t, std::uint8_t>(DType::kUInt8); }
TEST(ReduceKernels, Float16IsCombinedInFloat32AndRoundedOnce) {
  check_dtype<c10::Half, float>(DType::kFloat16);
}
TEST(ReduceKernels, BFloat16IsCombinedInFloat32AndRoundedOnce) {
  check_dtype<c10::BFloat16, float>(DType::kBFloat16);
}

// All values of float16, and float32 values at and around the middle between two of them.
TEST(ReduceKernels, Float16GoesThereAndBackAndRoundsToEven) {
  const ReducePlan copy = plan_for(Combine::kSum, DType::kFloat16, 1, true);
  std::vector<std::vector<std::uint16_t>> all(1);
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    all[0].push_back(static_cast<std::uint16_t>(bits));
  }
  std::vector<std::uint16_t> result(all[0].size());
  std::byte* const output = reinterpret_cast<std::byte*>(result.data());
  reduce(copy, addresses(all), {&output, 1}, 0x10000);
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bool is_nan = (bits & 0x7fffu) > 0x7c00u;
    ASSERT_EQ(result[bits], is_nan ? 0x7e00u : bits) << bits;
  }
  // Sums of a value and half, or a little more or less, of its last place.
  std::mt19937 random(3);
  std::vector<std::vector<c10::Half>> inputs(2);
  for (int i = 0; i < 200000; ++i) {
    for (auto& source : inputs) {
      source.push_back(c10::Half(static_cast<std::uint16_t>(random()), c10::Half::from_bits()));
    }
  }
  std::vector<c10::Half> sums(inputs[0].size());
  std::byte* const sum_output = reinterpret_cast<std::byte*>(sums.data());
  reduce(plan_for(Combine::kSum, DType::kFloat16, 2, true), addresses(inputs), {&sum_output, 1},
         200000);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const float sum = static_cast<float>(inputs[0][i]) + static_cast<float>(inputs[1][i]);
    if (sum != sum) {
      ASSERT_EQ(sums[i].x, 0x7e00u);
    } else {
      ASSERT_EQ(sums[i].x, c10::Half(sum).x) << sum;
    }
  }
}

TEST(ReduceKernels, AnAverageIsDividedOnceAtTheEnd) {
  for (const int sources : {1, 2, 3, 4, 7}) {
    for (const std::int64_t numel : {1, 65, 3000}) {
      ReducePlan plan = plan_for(Combine::kSum, DType::kFloat32, sources, true);
      plan.divisor = sources;
      const auto inputs = random_sources<float>(sources, numel);
      std::vector<float> first(static_cast<std::size_t>(numel)), second(first);
      std::byte* const outputs[] = {reinterpret_cast<std::byte*>(first.data()),
                                    reinterpret_cast<std::byte*>(second.data())};
      reduce(plan, addresses(inputs), outputs, numel);
      for (std::size_t i = 0; i < first.size(); ++i) {
        ASSERT_EQ(first[i], (scalar_result<float, float>(plan, inputs, i)));
      }
      ASSERT_EQ(first, second);
    }
  }
}

TEST(ReduceKernels, Int64WrapsAround) {
  const std::vector<std::vector<std::int64_t>> inputs = {{std::numeric_limits<std::int64_t>::max()},
                                                         {1}};
  std::int64_t result = 0;
  std::byte* const output = reinterpret_cast<std::byte*>(&result);
  reduce(plan_for(Combine::kSum, DType::kInt64, 2, false), addresses(inputs), {&output, 1}, 1);
  EXPECT_EQ(result, std::numeric_limits<std::int64_t>::min());
}

TEST(ReduceKernels, ANaNComesThroughAsTheOneQuietNaN) {
  const float odd_nan = -std::nanf("77");
  for (const Combine combine : {Combine::kSum, Combine::kMin, Combine::kMax}) {
    for (const int sources : {1, 2, 3, 4, 8}) {
      for (int at = 0; at < sources; ++at) {
        std::vector<std::vector<float>> inputs(static_cast<std::size_t>(sources),
                                               std::vector<float>(37, 1.5f));
        inputs[static_cast<std::size_t>(at)][36] = odd_nan;
        std::vector<float> result(37);
        std::byte* const output = reinterpret_cast<std::byte*>(result.data());
        reduce(plan_for(combine, DType::kFloat32, sources, true), addresses(inputs), {&output, 1},
               37);
        EXPECT_EQ(std::bit_cast<std::uint32_t>(result[36]), 0x7fc00000u);
      }
    }
  }
}

TEST(ReduceKernels, OutputsMayBeSources) {
  for (const int sources : {2, 3, 4, 6}) {
    const ReducePlan plan = plan_for(Combine::kSum, DType::kFloat32, sources, true);
    const auto inputs = random_sources<float>(sources, 3000);
    auto shared = inputs;
    std::vector<std::byte*> outputs;
    for (auto& values : shared) outputs.push_back(reinterpret_cast<std::byte*>(values.data()));
    reduce(plan, addresses(shared), outputs, 3000);
    for (const auto& values : shared) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(values[i], (scalar_result<float, float>(plan, inputs, i)));
      }
    }
  }
}

// What one rank reduces depends on the number of ranks: the bits must not depend on where the range
// is cut.
TEST(ReduceKernels, AnyCutGivesTheSameBits) {
  const auto inputs = random_sources<float>(5, 5000);
  const ReducePlan plan = plan_for(Combine::kSum, DType::kFloat32, 5, true);
  std::vector<float> whole(5000);
  std::byte* const output = reinterpret_cast<std::byte*>(whole.data());
  reduce(plan, addresses(inputs), {&output, 1}, 5000);
  std::mt19937 random(1);
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<float> cut(5000);
    for (std::int64_t begin = 0; begin < 5000;) {
      const std::int64_t end = std::min<std::int64_t>(5000, begin + 1 + random() % 2000);
      std::vector<const std::byte*> sources;
      for (const auto& input : inputs) {
        sources.push_back(reinterpret_cast<const std::byte*>(input.data() + begin));
      }
      std::byte* const piece = reinterpret_cast<std::byte*>(cut.data() + begin);
      reduce(plan, sources, {&piece, 1}, end - begin);
      begin = end;
    }
    ASSERT_EQ(std::memcmp(cut.data(), whole.data(), 5000 * sizeof(float)), 0);
  }
}

/// Of every combination of some sources of a dtype, and of averages.
template <typename T>
std::uint64_t hash_of_results(DType dtype) {
  std::uint64_t hash = 0;
  for (const int sources : {1, 2, 3, 4, 5, 8, 13}) {
    constexpr std::int64_t kNumel = 1025;
    const auto inputs = random_sources<T>(sources, kNumel);
    std::vector<ReducePlan> plans;
    for (const Combine combine : combines<T>()) {
      plans.push_back(plan_for(combine, dtype, sources, true));
    }
    if constexpr (!std::is_integral_v<T>) {
      plans.push_back(plan_for(Combine::kSum, dtype, sources, true));
      plans.back().divisor = sources;
    }
    for (const ReducePlan& plan : plans) {
      std::vector<T> result(kNumel);
      std::byte* const output = reinterpret_cast<std::byte*>(result.data());
      reduce(plan, addresses(inputs), {&output, 1}, kNumel);
      hash = 31 * hash + hash64_bytes(result.data(), result.size() * sizeof(T));
    }
  }
  return hash;
}

// Frozen: each machine runs the loops of its own vector unit, and all must give these bits. Made of
// integers, powers of two and IEEE arithmetic alone; products that overflow included.
TEST(ReduceKernels, EveryMachineGivesTheSameBits) {
  EXPECT_EQ(hash_of_results<float>(DType::kFloat32), 1501326928473428763u);
  EXPECT_EQ(hash_of_results<double>(DType::kFloat64), 8751717769693524495u);
  EXPECT_EQ(hash_of_results<c10::Half>(DType::kFloat16), 15324514854562706149u);
  EXPECT_EQ(hash_of_results<c10::BFloat16>(DType::kBFloat16), 15537089956592986816u);
  EXPECT_EQ(hash_of_results<std::int64_t>(DType::kInt64), 14892915047053148539u);
  EXPECT_EQ(hash_of_results<std::int32_t>(DType::kInt32), 3070139901735847225u);
  EXPECT_EQ(hash_of_results<std::int16_t>(DType::kInt16), 6654138177000001513u);
  EXPECT_EQ(hash_of_results<std::int8_t>(DType::kInt8), 17127367922381943573u);
  EXPECT_EQ(hash_of_results<std::uint8_t>(DType::kUInt8), 10219273004527178720u);
}

}  // namespace
}  // namespace muster::internal
