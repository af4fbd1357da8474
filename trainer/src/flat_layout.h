// Where each parameter lies in the flat parameter space: pure arithmetic.
#ifndef MUSTER_TRAINER_SRC_FLAT_LAYOUT_H_
#define MUSTER_TRAINER_SRC_FLAT_LAYOUT_H_

#include <cstdint>
#include <vector>

namespace muster::internal {

/// Parameters start on multiples of this (a cache line's worth of vectors: for speed, not for
/// bits).
inline constexpr std::int64_t kAlignmentNumel = 64;
/// Norms are summed over blocks of this size, and the flat space, buckets and shards are cut only
/// between blocks.
inline constexpr std::int64_t kBlockNumel = 1024;

/// Elements [begin, end) of the flat space.
struct FlatRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t numel() const { return end - begin; }
  friend bool operator==(const FlatRange&, const FlatRange&) = default;
};

struct FlatLayout {
  std::vector<FlatRange> parameters;  ///< Without the padding behind each.
  std::int64_t numel = 0;             ///< Of the whole space, a multiple of kBlockNumel.

  /// The parameter together with the padding behind it: these ranges tile the space.
  FlatRange padded(std::size_t parameter) const;
};

/// In the order given.
FlatLayout make_flat_layout(const std::vector<std::int64_t>& numels);

/// Tiles [0, numel) with ranges of at most `bucket_bytes` of float32, cut between blocks; at least
/// one block each.
std::vector<FlatRange> make_buckets(std::int64_t numel, std::int64_t bucket_bytes);

/// Part `index` of `parts` of [0, numel): even to an element, for dividing a tensor's bytes over
/// the ranks' files.
FlatRange even_part(std::int64_t numel, int index, int parts);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FLAT_LAYOUT_H_
