// Cutting bytes into checksummed chunks, and reading them back only when the checksums hold.
#ifndef MUSTER_CHECKPOINT_SRC_CHUNKS_H_
#define MUSTER_CHECKPOINT_SRC_CHUNKS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/manifest.h"
#include "muster/checkpoint/shard_record.h"

namespace muster::checkpoint::internal {

inline std::int64_t chunk_count(std::int64_t bytes) {
  return bytes / kChunkBytes + (bytes % kChunkBytes != 0 ? 1 : 0);
}

std::vector<std::uint32_t> chunk_checksums(const void* data, std::int64_t bytes);

/// CheckpointError naming `place` (file and tensor) unless as many bytes were found at
/// `offset_bytes` as were expected.
void require_bytes(const std::string& place, std::int64_t offset_bytes, std::int64_t expected,
                   std::int64_t found);

/// CheckpointError naming `place` and the offset unless the data has this checksum.
void check_chunk(const std::string& place, std::int64_t offset_bytes, const std::byte* data,
                 std::int64_t bytes, std::uint32_t expected);

/// Reads exactly `bytes`; CheckpointError naming `place` when the file ends before.
void read_exactly(const ReadableFile& file, const std::string& place, std::int64_t offset_bytes,
                  std::int64_t bytes, std::byte* out);

/// Copies bytes [begin_bytes, end_bytes) of the piece, counted from the piece's start, to `out`.
/// Every chunk that they touch is read whole and checked; CheckpointError naming `place` (file and
/// tensor) and the offset otherwise.
void read_piece(const ReadableFile& file, const std::string& place, const Piece& piece,
                std::int64_t piece_bytes, std::int64_t begin_bytes, std::int64_t end_bytes,
                std::byte* out);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_CHUNKS_H_
