// Where each parameter lies in the flat parameter space, and who owns which part of it: pure
// arithmetic.
#ifndef MUSTER_TRAINER_SRC_FLAT_LAYOUT_H_
#define MUSTER_TRAINER_SRC_FLAT_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace muster::internal {

/// Norms are summed over blocks of this many elements. Each parameter begins a block, and buckets
/// and shards are cut between blocks: so a parameter's blocks hold the same elements in any layout.
inline constexpr std::int64_t kBlockNumel = 1024;

/// Elements [begin, end) of the flat space.
struct FlatRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t numel() const { return end - begin; }
  friend bool operator==(const FlatRange&, const FlatRange&) = default;
};

/// Whole parameters whose gradients are reduced together.
struct Bucket {
  FlatRange range;  ///< A multiple of world_size blocks; zeros behind the last parameter.
  std::vector<std::size_t> parameters;  ///< In the order of the flat space.
};

/// The parameters that are gathered together: whole buckets.
struct Unit {
  FlatRange range;
  std::size_t first_bucket = 0;
  std::size_t end_bucket = 0;
};

struct FlatLayout {
  std::vector<FlatRange> parameters;   ///< By registration; without the padding behind each.
  std::vector<std::size_t> bucket_of;  ///< By parameter.
  std::vector<std::size_t> unit_of;    ///< By bucket.
  std::vector<Bucket> buckets;         ///< Tile the space.
  std::vector<Unit> units;             ///< Tile it too.
  std::int64_t numel = 0;
};

/// `units` lists the parameters of each unit; every parameter is in exactly one. A bucket holds
/// `bucket_bytes` of float32 at most, or a single larger parameter.
FlatLayout make_flat_layout(const std::vector<std::int64_t>& numels,
                            const std::vector<std::vector<std::size_t>>& units,
                            std::int64_t bucket_bytes, int world_size);

/// What a rank owns of one bucket, and where that lies in the rank's shards.
struct Piece {
  FlatRange flat;
  std::int64_t offset = 0;
};

/// One rank's part of the flat space: piece b is of bucket b, and the pieces lie end to end.
struct ShardLayout {
  int parts = 1;  ///< Ranks that share the space; 1 where each owns all of it.
  std::vector<Piece> pieces;
  std::int64_t numel = 0;
};

/// Each bucket is cut into `parts` equal pieces, of which this is the one at `index`.
ShardLayout make_shard_layout(const FlatLayout& layout, int index, int parts);

/// Part `index` of `parts` of [0, numel): even to an element, for dividing a tensor's bytes over
/// the ranks' files.
FlatRange even_part(std::int64_t numel, int index, int parts);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FLAT_LAYOUT_H_
