// The keyed bijection behind the order of samples.
#include "muster/data_loader/sampler.h"

#include <algorithm>
#include <bit>
#include <string>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace {

// Even, so that both halves are replaced equally often. Luby and Rackoff need 4; narrow halves
// (small data sets) want more.
constexpr int kRounds = 8;
// Narrower halves have too few round functions: at 3 bits some orders of 5 samples were clearly
// more likely than others.
constexpr int kMinBits = 8;
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014). Written out here and not shared: the order
// rests on it.
constexpr std::uint64_t scramble(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr std::uint64_t epoch_key(std::uint64_t seed, std::int64_t epoch) {
  return scramble(scramble(seed) + kGolden * (static_cast<std::uint64_t>(epoch) + 1));
}

// Halves have at most 31 bits, so round and half fill one word without overlap.
constexpr std::uint64_t round_function(std::uint64_t key, int round, std::uint64_t half) {
  return scramble(key + kGolden * ((static_cast<std::uint64_t>(round + 1) << 32) | half)) >> 32;
}

constexpr std::uint64_t mask(int bits) { return (std::uint64_t{1} << bits) - 1; }

}  // namespace

Sampler::Sampler(std::int64_t size, std::uint64_t seed, bool shuffle)
    : size_(size), seed_(seed), shuffle_(shuffle) {
  if (size < 1 || size > (std::int64_t{1} << 62)) {
    throw ConfigError("expected a dataset of 1 to 2^62 samples; found " + std::to_string(size) +
                      ". Check what the dataset was made of");
  }
  const auto largest = static_cast<std::uint64_t>(size - 1);
  const int bits = std::max(kMinBits, static_cast<int>(std::bit_width(largest)));
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
}

std::int64_t Sampler::sample(std::int64_t epoch, std::int64_t position) const {
  MUSTER_CHECK_GE(epoch, 0);
  MUSTER_CHECK(position >= 0 && position < size_) << position << " of " << size_ << " samples";
  if (!shuffle_) return position;
  // The network permutes a power of two that is less than twice the size (or 256). Following a
  // value's cycle until it falls below the size again makes a permutation of 0 .. size-1: the walk
  // ends, since the cycle leads back to where it began.
  const std::uint64_t key = epoch_key(seed_, epoch);
  std::uint64_t value = static_cast<std::uint64_t>(position);
  do {
    value = permute(key, value);
  } while (value >= static_cast<std::uint64_t>(size_));
  return static_cast<std::int64_t>(value);
}

std::uint64_t Sampler::permute(std::uint64_t key, std::uint64_t value) const {
  std::uint64_t high = value >> low_bits_;
  std::uint64_t low = value & mask(low_bits_);
  for (int round = 0; round < kRounds; round += 2) {
    high ^= round_function(key, round, low) & mask(high_bits_);
    low ^= round_function(key, round + 1, high) & mask(low_bits_);
  }
  return (high << low_bits_) | low;
}

}  // namespace muster
