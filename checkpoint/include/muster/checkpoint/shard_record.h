// What one rank knows about the file it wrote: enough for rank 0 to write the manifest without
// opening the file.
#ifndef MUSTER_CHECKPOINT_SHARD_RECORD_H_
#define MUSTER_CHECKPOINT_SHARD_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

/// A range's data is checksummed in chunks of this many bytes (the last may be shorter), so that
/// any part of a tensor can be read and checked with at most one chunk too much at either end.
inline constexpr std::int64_t kChunkBytes = 1 << 20;

/// A range and where its bytes lie in its file: little-endian, contiguous from `offset_bytes`.
struct StoredRange {
  TensorRange range;
  std::int64_t offset_bytes = 0;
  std::vector<std::uint32_t> chunk_crc32c;  ///< One for each chunk of the range's own bytes.

  bool operator==(const StoredRange&) const = default;
};

/// One rank's file.
struct ShardRecord {
  std::string file;  ///< A plain name, "rank-00001-of-00004.h5".
  int rank = 0;
  int world_size = 1;
  std::int64_t bytes = 0;              ///< Of the whole file.
  std::uint32_t structure_crc32c = 0;  ///< Over all bytes that belong to no range, in file order.
  std::vector<StoredRange> ranges{};

  /// For the way to rank 0 through the trainer's own collective: send `to_json().dump()`.
  Json to_json() const;
  /// Throws CheckpointError naming the field that is missing or out of bounds.
  static ShardRecord from_json(const Json& json);

  bool operator==(const ShardRecord&) const = default;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_SHARD_RECORD_H_
