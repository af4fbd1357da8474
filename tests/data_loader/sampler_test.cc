// The sample order: a permutation each epoch, random enough, and the same for ever.
#include "muster/data_loader/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "muster/base/error.h"

namespace muster {
namespace {

std::vector<std::int64_t> order(const Sampler& sampler, std::int64_t epoch) {
  std::vector<std::int64_t> samples;
  for (std::int64_t p = 0; p < sampler.size(); ++p) samples.push_back(sampler.sample(epoch, p));
  return samples;
}

bool is_permutation_of_range(const std::vector<std::int64_t>& samples) {
  std::vector<bool> seen(samples.size(), false);
  for (const std::int64_t sample : samples) {
    if (sample < 0 || sample >= static_cast<std::int64_t>(samples.size())) return false;
    if (seen[static_cast<std::size_t>(sample)]) return false;
    seen[static_cast<std::size_t>(sample)] = true;
  }
  return true;
}

TEST(SamplerTest, EachEpochIsAPermutationForEverySizeUpTo2000) {
  for (std::int64_t size = 1; size <= 2000; ++size) {
    const Sampler sampler(size, 42, true);
    for (const std::int64_t epoch : {0, 1}) {
      ASSERT_TRUE(is_permutation_of_range(order(sampler, epoch))) << size << " epoch " << epoch;
    }
  }
}

TEST(SamplerTest, EachEpochIsAPermutationAroundPowersOfTwo) {
  for (int bits = 12; bits <= 18; ++bits) {
    for (const std::int64_t delta : {-1, 0, 1}) {
      const Sampler sampler((std::int64_t{1} << bits) + delta, 7, true);
      ASSERT_TRUE(is_permutation_of_range(order(sampler, 3))) << sampler.size();
    }
  }
}

TEST(SamplerTest, LargeSizesStayInRangeAndNeverRepeat) {
  for (const int bits : {31, 32, 33, 40, 61, 62}) {
    const std::int64_t size = (std::int64_t{1} << bits) - (bits < 62 ? 5 : 0);
    const Sampler sampler(size, 3, true);
    std::vector<std::int64_t> samples;
    for (std::int64_t i = 0; i < 5000; ++i) {
      samples.push_back(sampler.sample(1, i));
      samples.push_back(sampler.sample(1, size - 1 - i));
    }
    std::sort(samples.begin(), samples.end());
    EXPECT_GE(samples.front(), 0);
    EXPECT_LT(samples.back(), size);
    EXPECT_EQ(std::adjacent_find(samples.begin(), samples.end()), samples.end()) << size;
    EXPECT_GT(samples.back(), size / 100 * 99) << "the whole range is used";
  }
}

TEST(SamplerTest, WithoutShuffleTheOrderIsTheIdentity) {
  const Sampler sampler(100, 9, false);
  for (std::int64_t p = 0; p < 100; ++p) EXPECT_EQ(sampler.sample(p, p), p);
}

struct Golden {
  std::int64_t size;
  std::uint64_t seed;
  std::int64_t epoch;
  std::vector<std::int64_t> samples;  // at positions 0, 1, ...
};

// Made by golden/sampler.py. A change here changes what the positions in existing checkpoints mean.
TEST(SamplerTest, TheOrderNeverChanges) {
  const std::vector<Golden> goldens = {
      {1, 0u, 0, {0}},
      {10, 0u, 0, {8, 1, 3, 6, 0, 2, 5, 9, 7, 4}},
      {10, 0u, 1, {8, 0, 5, 3, 2, 9, 1, 6, 7, 4}},
      {10, 1u, 0, {3, 9, 6, 4, 1, 8, 7, 0, 2, 5}},
      {60000, 17u, 0, {31611, 15078, 25354, 40583, 22742, 18828, 45451, 18551, 12147, 49461}},
      {60000, 17u, 3, {1492, 37156, 14676, 49152, 51053, 35857, 47488, 50597, 17115, 57116}},
      {1099511627777,
       18446744073709551615u,
       1000000,
       {590183899164, 132263834736, 616165446427, 467541594400, 556336199198, 876797287202,
        1040975148779, 216371358874, 499797208612, 809298720939}},
      {4611686018427387904,
       5u,
       2,
       {1068977026643255986, 1920043376564695193, 999722299122810044, 1298989106311900357,
        1614417699054856766, 1609326612793247234, 395674472993052414, 3033383087230579774,
        3023731256781139647, 697779164387987284}},
  };
  for (const Golden& golden : goldens) {
    const Sampler sampler(golden.size, golden.seed, true);
    for (std::size_t p = 0; p < golden.samples.size(); ++p) {
      EXPECT_EQ(sampler.sample(golden.epoch, static_cast<std::int64_t>(p)), golden.samples[p])
          << golden.size << " " << golden.seed << " " << golden.epoch << " " << p;
    }
  }
}

// The chi-square statistic of counts that should be equal has mean k - 1 and variance 2 (k - 1);
// everything here is deterministic, so five standard deviations is a bar and not a chance.
void expect_uniform(const std::vector<std::int64_t>& counts, const char* what) {
  double total = 0;
  for (const std::int64_t count : counts) total += static_cast<double>(count);
  const double expected = total / static_cast<double>(counts.size());
  double statistic = 0;
  for (const std::int64_t count : counts) {
    statistic += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected);
  }
  statistic /= expected;
  const double freedom = static_cast<double>(counts.size()) - 1;
  EXPECT_LT(std::abs(statistic - freedom), 5 * std::sqrt(2 * freedom)) << what;
}

TEST(SamplerTest, EveryPermutationOfASmallSetIsAsLikely) {
  for (const std::int64_t size : {2, 3, 4, 5, 6}) {
    const Sampler sampler(size, 11, true);
    std::vector<std::int64_t> permutation(static_cast<std::size_t>(size));
    std::int64_t permutations = 1;
    for (std::int64_t i = 0; i < size; ++i) permutations *= i + 1;
    std::vector<std::int64_t> counts(static_cast<std::size_t>(permutations), 0);
    for (std::int64_t epoch = 0; epoch < 9600; ++epoch) {
      const std::vector<std::int64_t> samples = order(sampler, epoch);
      std::int64_t index = 0;  // Lehmer code
      for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto smaller =
            std::count_if(samples.begin() + static_cast<std::ptrdiff_t>(i), samples.end(),
                          [&](std::int64_t s) { return s < samples[i]; });
        index = index * static_cast<std::int64_t>(samples.size() - i) + smaller;
      }
      ++counts[static_cast<std::size_t>(index)];
    }
    SCOPED_TRACE(size);
    expect_uniform(counts, "permutations");
  }
}

TEST(SamplerTest, EverySampleIsAsLikelyAtEveryPosition) {
  constexpr std::int64_t kSize = 37;
  const Sampler sampler(kSize, 5, true);
  std::vector<std::int64_t> counts(kSize * kSize, 0);
  for (std::int64_t epoch = 0; epoch < 4000; ++epoch) {
    for (std::int64_t p = 0; p < kSize; ++p) {
      ++counts[static_cast<std::size_t>(p * kSize + sampler.sample(epoch, p))];
    }
  }
  expect_uniform(counts, "position by sample");
}

TEST(SamplerTest, NeighboursInTheOrderAreAsFarApartAsAnyTwo) {
  constexpr std::int64_t kSize = 64;
  const Sampler sampler(kSize, 6, true);
  std::vector<std::int64_t> counts(kSize - 1, 0);  // of (next - this) modulo kSize, never 0
  for (std::int64_t epoch = 0; epoch < 3000; ++epoch) {
    for (std::int64_t p = 0; p + 1 < kSize; ++p) {
      const std::int64_t gap = sampler.sample(epoch, p + 1) - sampler.sample(epoch, p);
      ++counts[static_cast<std::size_t>((gap + kSize) % kSize - 1)];
    }
  }
  expect_uniform(counts, "gaps");
}

TEST(SamplerTest, SeedsAndEpochsGiveUnrelatedOrders) {
  constexpr std::int64_t kSize = 10000;
  // Two random permutations agree in 1 position on average, in more than 8 once in a million pairs.
  const auto agreements = [](const Sampler& a, std::int64_t epoch_a, const Sampler& b,
                             std::int64_t epoch_b) {
    int equal = 0;
    for (std::int64_t p = 0; p < kSize; ++p) {
      equal += a.sample(epoch_a, p) == b.sample(epoch_b, p) ? 1 : 0;
    }
    return equal;
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Sampler sampler(kSize, seed, true);
    EXPECT_LE(agreements(sampler, 0, sampler, 1), 8);
    EXPECT_LE(agreements(sampler, 0, Sampler(kSize, seed + 1, true), 0), 8);
    EXPECT_LE(agreements(sampler, 1, Sampler(kSize, seed + 1, true), 0), 8);
    EXPECT_LE(agreements(sampler, 0, Sampler(kSize, 0, false), 0), 8);
  }
}

TEST(SamplerTest, ArgumentsOutsideTheDomainAreErrors) {
  EXPECT_THROW(Sampler(0, 0, true), ConfigError);
  EXPECT_THROW(Sampler(-1, 0, true), ConfigError);
  EXPECT_THROW(Sampler((std::int64_t{1} << 62) + 1, 0, true), ConfigError);
  const Sampler sampler(10, 0, true);
  EXPECT_THROW(sampler.sample(0, -1), InternalError);
  EXPECT_THROW(sampler.sample(0, 10), InternalError);
  EXPECT_THROW(sampler.sample(-1, 0), InternalError);
}

}  // namespace
}  // namespace muster
