// The write pass, from the first byte of the file to the last.
#include "shard_file.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chunks.h"
#include "file_errors.h"
#include "muster/base/check.h"
#include "muster/base/crc32c.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "range_checks.h"

namespace muster::checkpoint::internal {
namespace {

/// Appends to a file; small writes are gathered, so that a thousand small tensors are not a
/// thousand system calls.
class AppendingFile {
 public:
  explicit AppendingFile(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {
    buffer_.reserve(kBufferBytes);
  }

  void append(const std::byte* data, std::size_t bytes) {
    if (buffer_.size() + bytes > kBufferBytes) flush();
    if (bytes >= kBufferBytes) {
      file_->write_at(offset_, data, bytes);
      offset_ += bytes;
      return;
    }
    buffer_.insert(buffer_.end(), data, data + bytes);
  }

  void finish() {
    flush();
    file_->sync();
    file_->close();
  }

 private:
  static constexpr std::size_t kBufferBytes = 1 << 20;

  void flush() {
    if (buffer_.empty()) return;
    file_->write_at(offset_, buffer_.data(), buffer_.size());
    offset_ += buffer_.size();
    buffer_.clear();
  }

  std::unique_ptr<WritableFile> file_;
  std::vector<std::byte> buffer_;
  std::uint64_t offset_ = 0;
};

void check_sources(std::span<const SourceRange> sources) {
  std::map<std::string, std::vector<std::pair<std::int64_t, std::int64_t>>> taken;
  for (const SourceRange& source : sources) {
    check_source(source);
    taken[source.range.name].emplace_back(source.range.begin, source.range.end);
  }
  for (auto& [name, ranges] : taken) {
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i - 1].second <= ranges[i].first && ranges[i - 1] != ranges[i]) continue;
      throw CheckpointError("tensor '" + name + "': expected ranges that do not overlap, found [" +
                            std::to_string(ranges[i - 1].first) + ", " +
                            std::to_string(ranges[i - 1].second) + ") and [" +
                            std::to_string(ranges[i].first) + ", " +
                            std::to_string(ranges[i].second) + ")");
    }
  }
}

/// Structure bytes [begin, end), appended and added to the structure's checksum.
void append_structure(const Hdf5Skeleton& skeleton, std::int64_t begin, std::int64_t end,
                      AppendingFile& file, std::uint32_t* structure_crc32c) {
  MUSTER_CHECK_LE(begin, end);
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(end - begin, kChunkBytes)));
  while (begin < end) {
    const std::int64_t bytes = std::min(end - begin, kChunkBytes);
    skeleton.read(begin, bytes, buffer.data());
    *structure_crc32c = crc32c(buffer.data(), static_cast<std::size_t>(bytes), *structure_crc32c);
    file.append(buffer.data(), static_cast<std::size_t>(bytes));
    begin += bytes;
  }
}

/// Chunk by chunk: the checksum warms the cache for the write.
void append_range(const std::byte* data, std::int64_t bytes, AppendingFile& file,
                  std::vector<std::uint32_t>* chunk_crc32c) {
  chunk_crc32c->reserve(static_cast<std::size_t>(chunk_count(bytes)));
  for (std::int64_t at = 0; at < bytes; at += kChunkBytes) {
    const auto length = static_cast<std::size_t>(std::min(kChunkBytes, bytes - at));
    chunk_crc32c->push_back(crc32c(data + at, length));
    file.append(data + at, length);
  }
}

std::vector<std::size_t> in_file_order(const std::vector<StoredRange>& ranges) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].range.numel() > 0) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return ranges[a].offset_bytes < ranges[b].offset_bytes;
  });
  return order;
}

void append_all(const Hdf5Skeleton& skeleton, std::span<const SourceRange> sources,
                AppendingFile& file, ShardRecord* record) {
  std::int64_t at = 0;
  for (const std::size_t i : in_file_order(record->ranges)) {
    StoredRange& stored = record->ranges[i];
    append_structure(skeleton, at, stored.offset_bytes, file, &record->structure_crc32c);
    append_range(static_cast<const std::byte*>(sources[i].data), stored.range.bytes(), file,
                 &stored.chunk_crc32c);
    at = stored.offset_bytes + stored.range.bytes();
  }
  append_structure(skeleton, at, skeleton.file_bytes(), file, &record->structure_crc32c);
}

void remove_partial_file(const std::filesystem::path& path, Env& env) {
  try {
    env.remove_all(path);
  } catch (const FileError& error) {
    MUSTER_LOG(WARNING) << "an unfinished checkpoint file stays behind: " << error.what();
  }
}

}  // namespace

ShardRecord write_shard_file(const std::filesystem::path& path, const FileIdentity& identity,
                             std::span<const SourceRange> sources, Env& env) {
  check_sources(sources);
  std::vector<TensorRange> ranges;
  ranges.reserve(sources.size());
  for (const SourceRange& source : sources) ranges.push_back(source.range);
  const Hdf5Skeleton skeleton(identity, ranges);
  ShardRecord record{.file = path.filename().string(),
                     .rank = identity.rank,
                     .world_size = identity.world_size,
                     .bytes = skeleton.file_bytes()};
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    record.ranges.push_back({std::move(ranges[i]), skeleton.offsets_bytes()[i], {}});
  }
  try {
    AppendingFile file(env.create_file(path));
    append_all(skeleton, sources, file, &record);
    file.finish();
  } catch (...) {
    remove_partial_file(path, env);
    throw;
  }
  return record;
}

}  // namespace muster::checkpoint::internal
