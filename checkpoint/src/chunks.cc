// Checked reads, one chunk at a time.
#include "chunks.h"

#include <algorithm>
#include <cstring>

#include "file_errors.h"
#include "json_fields.h"
#include "muster/base/crc32c.h"
#include "muster/base/error.h"

namespace muster::checkpoint::internal {

std::vector<std::uint32_t> chunk_checksums(const void* data, std::int64_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  std::vector<std::uint32_t> checksums;
  checksums.reserve(static_cast<std::size_t>(chunk_count(bytes)));
  for (std::int64_t begin = 0; begin < bytes; begin += kChunkBytes) {
    const std::int64_t length = std::min(kChunkBytes, bytes - begin);
    checksums.push_back(crc32c(first + begin, static_cast<std::size_t>(length)));
  }
  return checksums;
}

void read_exactly(const ReadableFile& file, const std::string& place, std::int64_t offset_bytes,
                  std::int64_t bytes, std::byte* out) {
  const auto wanted = static_cast<std::size_t>(bytes);
  const std::size_t found = with_read_errors(
      place, [&] { return file.read_at(static_cast<std::uint64_t>(offset_bytes), out, wanted); });
  require_bytes(place, offset_bytes, bytes, static_cast<std::int64_t>(found));
}

void require_bytes(const std::string& place, std::int64_t offset_bytes, std::int64_t expected,
                   std::int64_t found) {
  if (found >= expected) return;
  throw CheckpointError(place + ": expected " + std::to_string(expected) + " bytes at offset " +
                        std::to_string(offset_bytes) + ", found " +
                        std::to_string(std::max<std::int64_t>(found, 0)) +
                        ": the file is truncated");
}

void check_chunk(const std::string& place, std::int64_t offset_bytes, const std::byte* data,
                 std::int64_t bytes, std::uint32_t expected) {
  const std::uint32_t found = crc32c(data, static_cast<std::size_t>(bytes));
  if (found == expected) return;
  throw CheckpointError(place + ": expected crc32c " + checksum_text(expected) + " for the " +
                        std::to_string(bytes) + " bytes at offset " + std::to_string(offset_bytes) +
                        ", found " + checksum_text(found) + ": the file is damaged");
}

void read_piece(const ReadableFile& file, const std::string& place, const Piece& piece,
                std::int64_t piece_bytes, std::int64_t begin_bytes, std::int64_t end_bytes,
                std::byte* out) {
  std::vector<std::byte> partial;  // for the chunks at the ends, of which only a part is wanted
  for (std::int64_t at = begin_bytes; at < end_bytes;) {
    const std::int64_t index = at / kChunkBytes;
    const std::int64_t chunk_begin = index * kChunkBytes;
    const std::int64_t chunk_end = std::min(chunk_begin + kChunkBytes, piece_bytes);
    const std::int64_t stop = std::min(chunk_end, end_bytes);
    const bool whole = at == chunk_begin && stop == chunk_end;
    if (!whole) partial.resize(static_cast<std::size_t>(chunk_end - chunk_begin));
    std::byte* target = whole ? out : partial.data();
    read_exactly(file, place, piece.offset_bytes + chunk_begin, chunk_end - chunk_begin, target);
    check_chunk(place, piece.offset_bytes + chunk_begin, target, chunk_end - chunk_begin,
                piece.chunk_crc32c[static_cast<std::size_t>(index)]);
    if (!whole) {
      std::memcpy(out, partial.data() + (at - chunk_begin), static_cast<std::size_t>(stop - at));
    }
    out += stop - at;
    at = stop;
  }
}

}  // namespace muster::checkpoint::internal
