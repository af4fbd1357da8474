// The write pass, from the first byte of the file to the last.
#include "shard_file.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block_writer.h"
#include "chunks.h"
#include "file_errors.h"
#include "muster/base/check.h"
#include "muster/base/crc32c.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "range_checks.h"

namespace muster::checkpoint::internal {
namespace {

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

/// The bytes of `stored` that go to the disk as they lie in memory: whole blocks at a place for
/// whole blocks. Others are gathered with their neighbours.
std::int64_t body_bytes(const StoredRange& stored, const void* data) {
  const auto block = static_cast<std::int64_t>(kDirectBlockBytes);
  const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data));
  if ((address | stored.offset_bytes) % block != 0) return 0;
  return stored.range.bytes() / block * block;
}

/// All bytes outside of bodies, in file order: structure, small ranges, tails. A gathering begins
/// at the file's start or where a body ends, so it is written in whole blocks, its last apart.
class Gatherer {
 public:
  Gatherer(const Hdf5Skeleton& skeleton, WritableFile& file, std::uint32_t* structure_crc32c)
      : skeleton_(skeleton),
        structure_crc32c_(structure_crc32c),
        writer_(file),
        buffer_(static_cast<std::size_t>(kChunkBytes)) {}

  void structure_up_to(std::int64_t end) {
    MUSTER_CHECK_LE(at_, end);
    while (at_ < end) {
      const std::int64_t bytes = std::min(end - at_, kChunkBytes);
      skeleton_.read(at_, bytes, buffer_.data());
      *structure_crc32c_ =
          crc32c(buffer_.data(), static_cast<std::size_t>(bytes), *structure_crc32c_);
      append(buffer_.data(), bytes);
    }
  }
  void append(const std::byte* data, std::int64_t bytes) {
    writer_.append(data, static_cast<std::size_t>(bytes));
    at_ += bytes;
  }
  /// Over a body, which is written by itself.
  void skip(std::int64_t bytes) {
    if (bytes == 0) return;
    at_ += bytes;
    writer_.go_to(static_cast<std::uint64_t>(at_));
  }
  void finish() { writer_.flush(); }

 private:
  const Hdf5Skeleton& skeleton_;
  std::uint32_t* structure_crc32c_;
  BlockWriter writer_;
  std::vector<std::byte> buffer_;
  std::int64_t at_ = 0;
};

/// What of the sources is written by itself; makes room for its checksums in the record.
std::vector<Body> bodies_of(std::span<const SourceRange> sources, ShardRecord* record) {
  std::vector<Body> bodies;
  for (const std::size_t i : in_file_order(record->ranges)) {
    StoredRange& stored = record->ranges[i];
    const std::int64_t bytes = stored.range.bytes();
    const std::int64_t body = body_bytes(stored, sources[i].data);
    if (body == 0) continue;
    stored.chunk_crc32c.resize(static_cast<std::size_t>(chunk_count(bytes)));
    const auto* data = static_cast<const std::byte*>(sources[i].data);
    bodies.push_back({data, body, bytes, stored.offset_bytes, stored.chunk_crc32c.data()});
  }
  return bodies;
}

void write_around_bodies(const Hdf5Skeleton& skeleton, std::span<const SourceRange> sources,
                         const WaitForBytes& wait_for_bytes, WritableFile& file,
                         ShardRecord* record) {
  Gatherer gatherer(skeleton, file, &record->structure_crc32c);
  for (const std::size_t i : in_file_order(record->ranges)) {
    StoredRange& stored = record->ranges[i];
    const auto* data = static_cast<const std::byte*>(sources[i].data);
    const std::int64_t bytes = stored.range.bytes();
    const std::int64_t body = body_bytes(stored, data);
    if (wait_for_bytes) wait_for_bytes(data + bytes);
    gatherer.structure_up_to(stored.offset_bytes);
    gatherer.skip(body);
    gatherer.append(data + body, bytes - body);
    if (body == 0) stored.chunk_crc32c = chunk_checksums(data, bytes);
  }
  gatherer.structure_up_to(skeleton.file_bytes());
  gatherer.finish();
}

// A file smaller than this is written sooner through the page cache.
constexpr std::int64_t kLargeFileBytes = 1 << 20;

std::unique_ptr<WritableFile> create(const std::filesystem::path& path, std::int64_t bytes,
                                     Env& env) {
  if (bytes < kLargeFileBytes) return env.create_file(path);
  return env.create_large_file(path, static_cast<std::uint64_t>(bytes));
}

void write_all(const Hdf5Skeleton& skeleton, std::span<const SourceRange> sources,
               const WaitForBytes& wait_for_bytes, const std::filesystem::path& path, Env& env,
               ShardRecord* record) {
  const auto file = create(path, skeleton.file_bytes(), env);
  write_bodies(bodies_of(sources, record), wait_for_bytes, *file);
  write_around_bodies(skeleton, sources, wait_for_bytes, *file, record);
  file->sync();
  file->close();
  if (skeleton.file_bytes() >= kLargeFileBytes) tell_once_if_not_direct(path, *file);
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
                             std::span<const SourceRange> sources,
                             const WaitForBytes& wait_for_bytes, Env& env) {
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
    write_all(skeleton, sources, wait_for_bytes, path, env, &record);
  } catch (...) {
    remove_partial_file(path, env);
    throw;
  }
  return record;
}

}  // namespace muster::checkpoint::internal
