// Opening and reading.
#include "muster/checkpoint/checkpoint.h"

#include <algorithm>
#include <utility>

#include "checked_reads.h"
#include "chunks.h"
#include "file_errors.h"
#include "manifest_checks.h"
#include "muster/base/error.h"

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

// From here on a range is read by several threads.
constexpr std::int64_t kManyBytes = 4 * kChunkBytes;

/// Calls `visit(piece, begin_bytes, end_bytes)`, counted from the piece's start, for each piece
/// that holds a part of `range`, in order.
template <typename Visit>
void for_pieces(const TensorEntry& entry, const TensorRange& range, const Visit& visit) {
  const std::int64_t element_bytes = dtype_bytes(entry.dtype);
  // The pieces are in order and without gaps: the first wanted one is the first that ends after
  // `begin`.
  auto piece = std::upper_bound(entry.pieces.begin(), entry.pieces.end(), range.begin,
                                [](std::int64_t at, const Piece& p) { return at < p.end; });
  for (std::int64_t at = range.begin; at < range.end; ++piece) {
    const std::int64_t stop = std::min(piece->end, range.end);
    visit(*piece, (at - piece->begin) * element_bytes, (stop - piece->begin) * element_bytes);
    at = stop;
  }
}

std::vector<internal::FileReads> reads_of(const Manifest& manifest, const fs::path& directory,
                                          std::span<const TargetRange> targets) {
  std::vector<internal::FileReads> reads;
  for (const ManifestFile& file : manifest.files) reads.push_back({directory / file.file, &file});
  for (const TargetRange& target : targets) {
    const TensorEntry& entry = entry_for(manifest, target.range, directory);
    const std::string& name = manifest.tensors.find(target.range.name)->first;
    auto* next = static_cast<std::byte*>(target.data);
    for_pieces(entry, target.range, [&](const Piece& piece, std::int64_t begin, std::int64_t end) {
      reads[static_cast<std::size_t>(piece.file)].wanted.push_back(
          {{&name, &entry, &piece}, begin, end, next});
      next += end - begin;
    });
  }
  return reads;
}

}  // namespace

std::string summary(const std::vector<Problem>& problems) {
  if (problems.empty()) return "";
  const std::string more =
      problems.size() == 1 ? "" : " (and " + std::to_string(problems.size() - 1) + " more)";
  return problems.front().message + more;
}

Checkpoint::Checkpoint(fs::path directory, Manifest manifest, Env& env)
    : directory_(std::move(directory)), manifest_(std::move(manifest)), env_(&env) {}

Checkpoint Checkpoint::open(const fs::path& directory, Env& env) {
  const fs::path path = directory / kManifestFile;
  return Checkpoint(directory, Manifest::from_text(read_manifest_text(path, env), path.string()),
                    env);
}

void Checkpoint::read(const TensorRange& range, void* out) const {
  const TensorEntry& entry = entry_for(manifest_, range, directory_);
  if (range.bytes() >= kManyBytes) {
    const TargetRange target{range, out};
    for (const internal::FileReads& reads : reads_of(manifest_, directory_, {&target, 1})) {
      if (reads.wanted.empty()) continue;
      const auto problems = internal::read_checked(reads, internal::AtDamage::kStop, *env_);
      if (!problems.empty()) throw CheckpointError(problems.front().message);
    }
    return;
  }
  auto* next = static_cast<std::byte*>(out);
  for_pieces(entry, range, [&](const Piece& piece, std::int64_t begin, std::int64_t end) {
    const fs::path path = directory_ / manifest_.files[static_cast<std::size_t>(piece.file)].file;
    const std::string place = place_of(path, range.name);
    const auto file = internal::with_read_errors(place, [&] { return env_->open_file(path); });
    internal::read_piece(*file, place, piece, (piece.end - piece.begin) * dtype_bytes(entry.dtype),
                         begin, end, next);
    next += end - begin;
  });
}

std::vector<Problem> Checkpoint::load(std::span<const TargetRange> targets, Reader reader) const {
  std::vector<internal::FileReads> reads = reads_of(manifest_, directory_, targets);
  const auto by_file = internal::pieces_by_file(manifest_);
  for (std::size_t f = 0; f < reads.size(); ++f) {
    if (static_cast<int>(f) % reader.count == reader.index) reads[f].pieces = &by_file[f];
    if (reads[f].wanted.empty() && reads[f].pieces == nullptr) continue;
    auto problems = internal::read_checked(reads[f], internal::AtDamage::kStop, *env_);
    if (!problems.empty()) return problems;
  }
  return {};
}

std::vector<Problem> Checkpoint::verify() const {
  std::vector<Problem> problems;
  try {
    const fs::path path = directory_ / kManifestFile;
    Manifest::from_text(read_manifest_text(path, *env_), path.string());
  } catch (const Undecided&) {
    throw;
  } catch (const CheckpointError& error) {
    problems.push_back({kManifestFile, "", 0, error.what()});
  }
  const auto by_file = internal::pieces_by_file(manifest_);
  std::vector<internal::FileReads> reads = reads_of(manifest_, directory_, {});
  for (std::size_t f = 0; f < reads.size(); ++f) {
    reads[f].pieces = &by_file[f];
    for (const internal::PlacedPiece& placed : by_file[f]) {
      reads[f].wanted.push_back({placed, 0, placed.bytes()});
    }
    const auto found = internal::read_checked(reads[f], internal::AtDamage::kGoOn, *env_);
    problems.insert(problems.end(), found.begin(), found.end());
  }
  return problems;
}

}  // namespace muster::checkpoint
