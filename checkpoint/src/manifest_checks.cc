// Bounds, overlaps and gaps.
#include "manifest_checks.h"

#include <algorithm>
#include <tuple>

#include "chunks.h"
#include "muster/base/error.h"
#include "muster/checkpoint/layout.h"

namespace muster::checkpoint::internal {
namespace {

// No sum of sizes below this overflows.
constexpr std::int64_t kMaxTotalBytes = std::int64_t{1} << 60;

std::string elements(std::int64_t begin, std::int64_t end) {
  return "elements [" + std::to_string(begin) + ", " + std::to_string(end) + ")";
}

void check_files(const Manifest& manifest, const std::string& origin) {
  const auto files = static_cast<std::int64_t>(manifest.files.size());
  const bool has_view = files == manifest.world_size + std::int64_t{1};
  if (files != manifest.world_size && !has_view) {
    throw CheckpointError(origin + ": expected a file for each of " +
                          std::to_string(manifest.world_size) + " ranks, found " +
                          std::to_string(files));
  }
  if (has_view && manifest.files.back().file != kViewFile) {
    throw CheckpointError(origin + ": expected " + kViewFile + " after the ranks' files, found '" +
                          manifest.files.back().file + "'");
  }
  std::int64_t total_bytes = 0;
  for (const ManifestFile& file : manifest.files) {
    if (file.bytes >= 0 && file.bytes <= kMaxTotalBytes - total_bytes) {
      total_bytes += file.bytes;
      continue;
    }
    throw CheckpointError(origin + ": expected files of at most 2^60 bytes in all, found " +
                          file.file + " of " + std::to_string(file.bytes));
  }
  for (int rank = 0; rank < manifest.world_size; ++rank) {
    const std::string expected = shard_file_name(rank, manifest.world_size);
    const std::string& found = manifest.files[static_cast<std::size_t>(rank)].file;
    if (found != expected) {
      throw CheckpointError(origin + ": expected file " + expected + ", found '" + found + "'");
    }
  }
}

void check_piece(const Manifest& manifest, const std::string& place, const TensorEntry& entry,
                 const Piece& piece) {
  if (piece.file < 0 || piece.file >= manifest.world_size) {
    throw CheckpointError(place + ": expected a file index of 0 to " +
                          std::to_string(manifest.world_size - 1) + ", found " +
                          std::to_string(piece.file));
  }
  if (piece.begin < 0 || piece.begin > piece.end || piece.end > entry.numel()) {
    throw CheckpointError(place + ": expected pieces within its " + std::to_string(entry.numel()) +
                          " elements, found " + elements(piece.begin, piece.end));
  }
  const ManifestFile& file = manifest.files[static_cast<std::size_t>(piece.file)];
  const std::int64_t bytes = (piece.end - piece.begin) * dtype_bytes(entry.dtype);
  if (piece.offset_bytes < 0 || bytes > file.bytes || piece.offset_bytes > file.bytes - bytes) {
    throw CheckpointError(place + ": expected " + std::to_string(bytes) + " bytes within the " +
                          std::to_string(file.bytes) + " of " + file.file + ", found offset " +
                          std::to_string(piece.offset_bytes));
  }
  if (static_cast<std::int64_t>(piece.chunk_crc32c.size()) != chunk_count(bytes)) {
    throw CheckpointError(place + ": expected " + std::to_string(chunk_count(bytes)) +
                          " chunk checksums, found " + std::to_string(piece.chunk_crc32c.size()));
  }
}

void check_coverage(const std::string& place, const TensorEntry& entry) {
  std::int64_t covered = 0;
  for (const Piece& piece : entry.pieces) {
    if (piece.begin == piece.end) continue;
    if (piece.begin > covered) {
      throw CheckpointError(place + ": expected every element once, found " +
                            elements(covered, piece.begin) + " in no file");
    }
    if (piece.begin < covered) {
      throw CheckpointError(place + ": expected every element once, found " +
                            elements(piece.begin, std::min(covered, piece.end)) + " twice");
    }
    covered = piece.end;
  }
  if (covered != entry.numel()) {
    throw CheckpointError(place + ": expected every element once, found " +
                          elements(covered, entry.numel()) + " in no file");
  }
}

void check_no_shared_bytes(const Manifest& manifest, const std::string& origin) {
  const auto by_file = pieces_by_file(manifest);
  for (std::size_t f = 0; f < by_file.size(); ++f) {
    for (std::size_t p = 1; p < by_file[f].size(); ++p) {
      const PlacedPiece& before = by_file[f][p - 1];
      const PlacedPiece& here = by_file[f][p];
      if (before.piece->offset_bytes + before.bytes() <= here.piece->offset_bytes) continue;
      throw CheckpointError(origin + ": expected pieces that share no bytes, found tensors '" +
                            *before.tensor + "' and '" + *here.tensor + "' both at offset " +
                            std::to_string(here.piece->offset_bytes) + " of " +
                            manifest.files[f].file);
    }
  }
}

}  // namespace

std::vector<std::vector<PlacedPiece>> pieces_by_file(const Manifest& manifest) {
  std::vector<std::vector<PlacedPiece>> by_file(manifest.files.size());
  for (const auto& [name, entry] : manifest.tensors) {
    for (const Piece& piece : entry.pieces) {
      if (piece.begin == piece.end) continue;
      by_file[static_cast<std::size_t>(piece.file)].push_back({&name, &entry, &piece});
    }
  }
  for (auto& placed : by_file) {
    std::sort(placed.begin(), placed.end(), [](const PlacedPiece& a, const PlacedPiece& b) {
      return a.piece->offset_bytes < b.piece->offset_bytes;
    });
  }
  return by_file;
}

void sort_and_check(Manifest& manifest, const std::string& origin) {
  check_files(manifest, origin);
  for (auto& [name, entry] : manifest.tensors) {
    const std::string place = origin + ": tensor '" + name + "'";
    for (const Piece& piece : entry.pieces) check_piece(manifest, place, entry, piece);
    std::sort(entry.pieces.begin(), entry.pieces.end(), [](const Piece& a, const Piece& b) {
      return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    check_coverage(place, entry);
  }
  check_no_shared_bytes(manifest, origin);
}

}  // namespace muster::checkpoint::internal
