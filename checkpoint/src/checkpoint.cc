// Opening and reading.
#include "muster/checkpoint/checkpoint.h"

#include <algorithm>
#include <utility>

#include "chunks.h"
#include "file_errors.h"
#include "manifest_checks.h"
#include "muster/base/crc32c.h"
#include "muster/base/error.h"
#include "two_threads.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

// Manifests are small (12 bytes a MiB of data); what claims to be larger is not one and is not
// worth the memory.
constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 30;

std::string read_manifest_text(const fs::path& path, Env& env) {
  return internal::with_read_errors("reading checkpoint manifest", [&] {
    const auto file = env.open_file(path);
    const std::uint64_t bytes = file->size_bytes();
    if (bytes > kMaxManifestBytes) {
      throw CheckpointError(path.string() + ": expected a manifest of at most 1 GiB, found " +
                            std::to_string(bytes) + " bytes");
    }
    std::string text(bytes, '\0');
    text.resize(file->read_at(0, text.data(), text.size()));
    return text;
  });
}

std::string place_of(const fs::path& path, const std::string& tensor) {
  return path.string() + ": tensor '" + tensor + "'";
}

const TensorEntry& entry_for(const Manifest& manifest, const TensorRange& range,
                             const fs::path& directory) {
  const auto found = manifest.tensors.find(range.name);
  if (found == manifest.tensors.end()) {
    throw CheckpointError(directory.string() + ": expected tensor " + describe(range) +
                          ", found none of that name among its " +
                          std::to_string(manifest.tensors.size()) + " tensors");
  }
  const TensorEntry& entry = found->second;
  if (entry.dtype != range.dtype || entry.shape != range.shape) {
    throw CheckpointError(directory.string() + ": expected tensor " + describe(range) + ", found " +
                          describe({range.name, entry.dtype, entry.shape, 0, entry.numel()}) +
                          "; the checkpoint is of another model");
  }
  if (range.begin < 0 || range.begin > range.end || range.end > entry.numel()) {
    throw CheckpointError(directory.string() + ": expected a range within the tensor's " +
                          std::to_string(entry.numel()) + " elements, found " + describe(range));
  }
  return entry;
}

std::uint32_t structure_checksum(const ReadableFile& file, const std::string& place,
                                 const std::vector<internal::PlacedPiece>& pieces,
                                 std::int64_t file_bytes) {
  std::uint32_t checksum = 0;
  std::vector<std::byte> buffer;
  const auto add = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; at += kChunkBytes) {
      const std::int64_t bytes = std::min(kChunkBytes, end - at);
      buffer.resize(static_cast<std::size_t>(bytes));
      internal::read_exactly(file, place, at, bytes, buffer.data());
      checksum = crc32c(buffer.data(), buffer.size(), checksum);
    }
  };
  std::int64_t at = 0;
  for (const internal::PlacedPiece& placed : pieces) {
    add(at, placed.piece->offset_bytes);
    at = placed.piece->offset_bytes + placed.bytes();
  }
  add(at, file_bytes);
  return checksum;
}

/// Runs `check` and keeps its CheckpointError as a problem; what decides nothing passes through.
template <typename Check>
void collect(std::vector<Problem>* problems, Problem place, Check&& check) {
  try {
    check();
  } catch (const internal::Undecided&) {
    throw;
  } catch (const CheckpointError& error) {
    place.message = error.what();
    problems->push_back(std::move(place));
  }
}

// What two threads share of a file's bytes at a time, and how many such parts one thread takes as
// well.
constexpr std::int64_t kPartBytes = 4 * kChunkBytes;
constexpr std::size_t kPartsForOneThread = 3;

/// Bytes [begin, end) of a piece.
struct Part {
  const internal::PlacedPiece* placed;
  std::int64_t begin;
  std::int64_t end;
};

std::vector<Part> parts_of(const std::vector<internal::PlacedPiece>& pieces) {
  std::vector<Part> parts;
  for (const internal::PlacedPiece& placed : pieces) {
    for (std::int64_t at = 0; at < placed.bytes(); at += kPartBytes) {
      parts.push_back({&placed, at, std::min(at + kPartBytes, placed.bytes())});
    }
  }
  return parts;
}

void verify_part(const ReadableFile& file, const fs::path& path, const std::string& file_name,
                 const Part& part, std::vector<Problem>* problems) {
  std::vector<std::byte> buffer;
  const internal::PlacedPiece& placed = *part.placed;
  const std::string place = place_of(path, *placed.tensor);
  for (std::int64_t at = part.begin; at < part.end; at += kChunkBytes) {
    const std::int64_t stop = std::min(at + kChunkBytes, part.end);
    buffer.resize(static_cast<std::size_t>(stop - at));
    collect(problems, {file_name, *placed.tensor, placed.piece->offset_bytes + at, ""}, [&] {
      internal::read_piece(file, place, *placed.piece, placed.bytes(), at, stop, buffer.data());
    });
  }
}

void verify_file(const fs::path& path, const ManifestFile& expected,
                 const std::vector<internal::PlacedPiece>& pieces, Env& env,
                 std::vector<Problem>* problems) {
  const auto file =
      internal::with_read_errors("reading checkpoint file", [&] { return env.open_file(path); });
  const auto found_bytes = static_cast<std::int64_t>(file->size_bytes());
  collect(problems, {expected.file, "", std::min(found_bytes, expected.bytes), ""}, [&] {
    if (found_bytes == expected.bytes) return;
    throw CheckpointError(path.string() + ": expected " + std::to_string(expected.bytes) +
                          " bytes, found " + std::to_string(found_bytes));
  });
  const std::vector<Part> parts = parts_of(pieces);
  std::vector<std::vector<Problem>> found(parts.size());
  internal::share_tasks(parts.size(), kPartsForOneThread, [&](std::size_t i) {
    verify_part(*file, path, expected.file, parts[i], &found[i]);
  });
  for (const std::vector<Problem>& some : found) {
    problems->insert(problems->end(), some.begin(), some.end());
  }
  collect(problems, {expected.file, "", 0, ""}, [&] {
    const std::string place = path.string() + ": structure (all bytes outside of tensors)";
    if (structure_checksum(*file, place, pieces, expected.bytes) == expected.structure_crc32c)
      return;
    throw CheckpointError(place + ": its crc32c is wrong: the file is damaged");
  });
}

/// read_piece(), shared by two threads where it is much. Parts begin where chunks do.
void read_in_parts(const ReadableFile& file, const std::string& place, const Piece& piece,
                   std::int64_t piece_bytes, std::int64_t begin_bytes, std::int64_t end_bytes,
                   std::byte* out) {
  const std::int64_t first = begin_bytes / kPartBytes;
  const std::int64_t last = (end_bytes + kPartBytes - 1) / kPartBytes;
  internal::share_tasks(
      static_cast<std::size_t>(last - first), kPartsForOneThread, [&](std::size_t i) {
        const std::int64_t part = (first + static_cast<std::int64_t>(i)) * kPartBytes;
        const std::int64_t begin = std::max(part, begin_bytes);
        const std::int64_t end = std::min(part + kPartBytes, end_bytes);
        internal::read_piece(file, place, piece, piece_bytes, begin, end,
                             out + (begin - begin_bytes));
      });
}

}  // namespace

Checkpoint::Checkpoint(fs::path directory, Manifest manifest, Env& env)
    : directory_(std::move(directory)), manifest_(std::move(manifest)), env_(&env) {}

Checkpoint Checkpoint::open(const fs::path& directory, Env& env) {
  const fs::path path = directory / kManifestFile;
  return Checkpoint(directory, Manifest::from_text(read_manifest_text(path, env), path.string()),
                    env);
}

void Checkpoint::read(const TensorRange& range, void* out) const {
  const TensorEntry& entry = entry_for(manifest_, range, directory_);
  const std::int64_t element_bytes = dtype_bytes(entry.dtype);
  auto* next = static_cast<std::byte*>(out);
  // The pieces are in order and without gaps: the first wanted one is the first that ends after
  // `begin`.
  auto piece = std::upper_bound(entry.pieces.begin(), entry.pieces.end(), range.begin,
                                [](std::int64_t at, const Piece& p) { return at < p.end; });
  for (std::int64_t at = range.begin; at < range.end; ++piece) {
    const std::int64_t stop = std::min(piece->end, range.end);
    const fs::path path = directory_ / manifest_.files[static_cast<std::size_t>(piece->file)].file;
    const std::string place = place_of(path, range.name);
    const auto file = internal::with_read_errors(place, [&] { return env_->open_file(path); });
    const std::int64_t begin_bytes = (at - piece->begin) * element_bytes;
    const std::int64_t end_bytes = (stop - piece->begin) * element_bytes;
    read_in_parts(*file, place, *piece, (piece->end - piece->begin) * element_bytes, begin_bytes,
                  end_bytes, next);
    next += end_bytes - begin_bytes;
    at = stop;
  }
}

std::vector<Problem> Checkpoint::verify() const {
  std::vector<Problem> problems;
  collect(&problems, {kManifestFile, "", 0, ""}, [&] {
    const fs::path path = directory_ / kManifestFile;
    Manifest::from_text(read_manifest_text(path, *env_), path.string());
  });
  const auto by_file = internal::pieces_by_file(manifest_);
  for (std::size_t f = 0; f < by_file.size(); ++f) {
    const ManifestFile& expected = manifest_.files[f];
    collect(&problems, {expected.file, "", 0, ""}, [&] {
      verify_file(directory_ / expected.file, expected, by_file[f], *env_, &problems);
    });
  }
  return problems;
}

}  // namespace muster::checkpoint
