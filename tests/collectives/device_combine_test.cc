// The GPU's arithmetic, run on the CPU, against that of the CPU's transports: equal bits.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "device/combine_element.h"
#include "device/combine_program.h"
#include "muster/base/error.h"
#include "sum_orders.h"

namespace muster::internal {
namespace {

// As the kernel does it: packs of four, and the rest one by one.
template <typename Codec>
std::vector<std::byte> combine_as_gpu(const ReducePlan& plan,
                                      const std::vector<std::vector<std::byte>>& sources,
                                      std::size_t numel) {
  using Stored = typename Codec::Stored;
  const CombineProgram program = combine_program(plan);
  std::vector<std::byte> output(numel * sizeof(Stored));
  const auto at = [&](int s, std::size_t i) {
    Stored value;
    std::memcpy(&value, sources[static_cast<std::size_t>(s)].data() + i * sizeof(Stored),
                sizeof(Stored));
    return value;
  };
  std::size_t i = 0;
  for (; i + 4 <= numel; i += 4) {
    Stored result[4];
    combine_elements<Codec, 4>(
        program,
        [&](int s, Stored(&in)[4]) {
          for (std::size_t k = 0; k < 4; ++k) in[k] = at(s, i + k);
        },
        result);
    std::memcpy(output.data() + i * sizeof(Stored), result, sizeof(result));
  }
  for (; i < numel; ++i) {
    Stored result[1];
    combine_elements<Codec, 1>(
        program, [&](int s, Stored(&in)[1]) { in[0] = at(s, i); }, result);
    std::memcpy(output.data() + i * sizeof(Stored), result, sizeof(result));
  }
  return output;
}

std::vector<std::byte> combine_as_cpu(const ReducePlan& plan,
                                      const std::vector<std::vector<std::byte>>& sources,
                                      std::size_t numel, std::size_t element_bytes) {
  std::vector<std::byte> output(numel * element_bytes);
  std::vector<const std::byte*> pointers;
  for (const auto& source : sources) pointers.push_back(source.data());
  std::byte* const destination = output.data();
  reduce(plan, pointers, {&destination, 1}, static_cast<std::int64_t>(numel));
  return output;
}

// Any bits at all: subnormals, infinities, NaN and values of every exponent among them.
std::vector<std::vector<std::byte>> random_bits(int sources, std::size_t bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<std::vector<std::byte>> all(static_cast<std::size_t>(sources));
  for (auto& source : all) {
    source.resize(bytes);
    for (std::byte& b : source) b = static_cast<std::byte>(random());
  }
  return all;
}

template <typename Codec>
void expect_equal_bits(const ReducePlan& plan, std::size_t numel, unsigned seed) {
  const std::size_t element_bytes = sizeof(typename Codec::Stored);
  const auto sources = random_bits(plan.sources, numel * element_bytes, seed);
  EXPECT_EQ(combine_as_gpu<Codec>(plan, sources, numel),
            combine_as_cpu(plan, sources, numel, element_bytes))
      << dtype_name(plan.dtype) << ", " << plan.sources << " sources, combination "
      << static_cast<int>(plan.combine) << ", divisor " << plan.divisor;
}

template <typename Codec>
void expect_every_combination(DType dtype, bool is_float) {
  std::vector<Combine> combinations = {Combine::kSum, Combine::kMin, Combine::kMax,
                                       Combine::kProduct};
  if (!is_float) combinations.insert(combinations.end(), {Combine::kBitAnd, Combine::kBitOr});
  for (int ranks = 1; ranks <= 9; ++ranks) {
    SumOrders orders(ranks);
    const SumOrder& order = orders.of_ranks();
    for (const Combine combine : combinations) {
      const bool averages = is_float && combine == Combine::kSum;
      for (const int divisor : {1, averages ? ranks : 1}) {
        const ReducePlan plan{combine, dtype, order.sources, order.additions, divisor};
        expect_equal_bits<Codec>(plan, 259, static_cast<unsigned>(ranks));
      }
    }
  }
}

TEST(DeviceCombineTest, EveryDtypeAndCombinationHasTheBitsOfTheCpu) {
  expect_every_combination<PlainCodec<float>>(DType::kFloat32, true);
  expect_every_combination<PlainCodec<double>>(DType::kFloat64, true);
  expect_every_combination<Float16Codec>(DType::kFloat16, true);
  expect_every_combination<BFloat16Codec>(DType::kBFloat16, true);
  expect_every_combination<PlainCodec<std::int8_t>>(DType::kInt8, false);
  expect_every_combination<PlainCodec<std::int16_t>>(DType::kInt16, false);
  expect_every_combination<PlainCodec<std::int32_t>>(DType::kInt32, false);
  expect_every_combination<PlainCodec<std::int64_t>>(DType::kInt64, false);
  expect_every_combination<PlainCodec<std::uint8_t>>(DType::kUInt8, false);
}

TEST(DeviceCombineTest, EveryTreeAtEveryWorldSizeHasTheBitsOfTheCpu) {
  for (int logical_ranks = 1; logical_ranks <= 40; ++logical_ranks) {
    for (int world_size = 1; world_size <= logical_ranks; ++world_size) {
      SumOrders orders(world_size);
      const SumOrder& order = orders.of(ReductionTree(logical_ranks));
      const ReducePlan plan{Combine::kSum, DType::kFloat32, order.sources, order.additions, 1};
      expect_equal_bits<PlainCodec<float>>(plan, 33, static_cast<unsigned>(logical_ranks));
    }
  }
}

TEST(DeviceCombineTest, ADeepTreeFitsOnTheStack) {
  SumOrders orders(2);
  const SumOrder& order = orders.of(ReductionTree(2'000'000'011));
  ASSERT_GT(order.sources, 20);
  const ReducePlan plan{Combine::kSum, DType::kFloat32, order.sources, order.additions, 1};
  expect_equal_bits<PlainCodec<float>>(plan, 64, 1);
}

// All 65,536 of them, averaged over 3 as well.
TEST(DeviceCombineTest, EveryHalfIsWidenedAndRoundedAsOnTheCpu) {
  constexpr std::size_t kAll = 65536;
  std::vector<std::byte> bytes(kAll * 2);
  for (std::size_t i = 0; i < kAll; ++i) {
    const auto value = static_cast<std::uint16_t>(i);
    std::memcpy(bytes.data() + 2 * i, &value, 2);
  }
  for (const int divisor : {1, 3}) {
    const ReducePlan half{Combine::kSum, DType::kFloat16, 1, {}, divisor};
    EXPECT_EQ(combine_as_gpu<Float16Codec>(half, {bytes}, kAll),
              combine_as_cpu(half, {bytes}, kAll, 2));
    const ReducePlan brain{Combine::kSum, DType::kBFloat16, 1, {}, divisor};
    EXPECT_EQ(combine_as_gpu<BFloat16Codec>(brain, {bytes}, kAll),
              combine_as_cpu(brain, {bytes}, kAll, 2));
  }
}

TEST(DeviceCombineTest, AdditionsThatAreNoTreeOverTheSourcesAreRefused) {
  const ReducePlan crossed{Combine::kSum, DType::kFloat32, 3, {{0, 2, 3}, {3, 1, 4}}, 1};
  EXPECT_THROW(combine_program(crossed), InternalError);
  const ReducePlan few{Combine::kSum, DType::kFloat32, 3, {{0, 1, 3}}, 1};
  EXPECT_THROW(combine_program(few), InternalError);
  EXPECT_THROW(combine_program({Combine::kSum, DType::kFloat32, 0, {}, 1}), InternalError);
}

}  // namespace
}  // namespace muster::internal
