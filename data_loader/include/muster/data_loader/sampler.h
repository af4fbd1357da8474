// The order of samples as a pure function of (size, seed, epoch, position): no state, no memory, no
// seek.
#ifndef MUSTER_DATA_LOADER_SAMPLER_H_
#define MUSTER_DATA_LOADER_SAMPLER_H_

#include <cstdint>

namespace muster {

/// Each epoch's order is a permutation of 0 .. size-1: a keyed bijection (an unbalanced Feistel
/// network over the smallest power of two, 256 or more, that holds `size`, with cycle walking;
/// Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Checkpoints store positions
/// in this order, so it never changes: golden values freeze it. A value; any thread; a call costs
/// tens of nanoseconds whatever the size.
class Sampler {
 public:
  /// Throws ConfigError unless 1 <= size <= 2^62. Without `shuffle` the order is 0, 1, 2, ... in
  /// every epoch.
  Sampler(std::int64_t size, std::uint64_t seed, bool shuffle);

  /// The sample at `position` of `epoch`. Throws InternalError unless 0 <= position < size and
  /// epoch >= 0.
  std::int64_t sample(std::int64_t epoch, std::int64_t position) const;

  std::int64_t size() const { return size_; }

 private:
  std::uint64_t permute(std::uint64_t key, std::uint64_t value) const;

  std::int64_t size_;
  std::uint64_t seed_;
  bool shuffle_;
  int low_bits_;  // the domain is 2^(low_bits_ + high_bits_) >= size_ and >= 2^8
  int high_bits_;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_SAMPLER_H_
