// From the records of all ranks to a manifest.
#include "muster/checkpoint/manifest.h"

#include <algorithm>
#include <utility>

#include "manifest_checks.h"
#include "muster/base/error.h"
#include "muster/base/version.h"
#include "muster/checkpoint/layout.h"
#include "range_checks.h"

namespace muster::checkpoint {
namespace {

/// The records by rank; throws unless there is exactly one for each rank of one world.
std::vector<const ShardRecord*> by_rank(const std::string& origin,
                                        const std::vector<ShardRecord>& records) {
  if (records.empty())
    throw CheckpointError(origin + ": expected a shard record of each rank, found none");
  const int world_size = records.front().world_size;
  std::vector<const ShardRecord*> ranks(records.size(), nullptr);
  for (const ShardRecord& record : records) {
    if (record.world_size != world_size || records.size() != static_cast<std::size_t>(world_size)) {
      throw CheckpointError(origin + ": expected " + std::to_string(world_size) +
                            " shard records of one world, found " + std::to_string(records.size()) +
                            ", one of a world of " + std::to_string(record.world_size));
    }
    if (record.rank < 0 || record.rank >= world_size) {
      throw CheckpointError(origin + ": expected a rank of 0 to " + std::to_string(world_size - 1) +
                            ", found the shard record of rank " + std::to_string(record.rank));
    }
    const ShardRecord*& slot = ranks[static_cast<std::size_t>(record.rank)];
    if (slot != nullptr) {
      throw CheckpointError(origin +
                            ": expected one shard record of each rank, found two of rank " +
                            std::to_string(record.rank));
    }
    slot = &record;
  }
  return ranks;
}

void add_ranges(Manifest& manifest, const std::string& origin, const ShardRecord& record) {
  for (const StoredRange& stored : record.ranges) {
    internal::check_range(stored.range);
    const auto [at, is_new] = manifest.tensors.try_emplace(
        stored.range.name, TensorEntry{stored.range.dtype, stored.range.shape, {}});
    TensorEntry& entry = at->second;
    if (!is_new && (entry.dtype != stored.range.dtype || entry.shape != stored.range.shape)) {
      throw CheckpointError(
          origin + ": expected all ranks to agree about " +
          describe({stored.range.name, entry.dtype, entry.shape, 0, entry.numel()}) +
          ", found from rank " + std::to_string(record.rank) + " " + describe(stored.range));
    }
    entry.pieces.push_back({record.rank, stored.range.begin, stored.range.end, stored.offset_bytes,
                            stored.chunk_crc32c});
  }
}

}  // namespace

std::int64_t TensorEntry::numel() const {
  std::int64_t numel = 1;
  for (const std::int64_t dim : shape) numel *= dim;
  return numel;
}

std::int64_t Manifest::tensor_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, entry] : tensors) bytes += entry.bytes();
  return bytes;
}

Manifest Manifest::from_records(std::int64_t step, int generation,
                                const std::vector<ShardRecord>& records, Json run_state) {
  const std::string origin = step_directory_name(step);
  Manifest manifest;
  manifest.muster_version = kVersion;
  manifest.step = step;
  manifest.generation = generation;
  manifest.run_state = std::move(run_state);
  const std::vector<const ShardRecord*> ranks = by_rank(origin, records);
  manifest.world_size = static_cast<int>(ranks.size());
  for (const ShardRecord* record : ranks) {
    manifest.files.push_back({record->file, record->bytes, record->structure_crc32c});
    add_ranges(manifest, origin, *record);
  }
  internal::sort_and_check(manifest, origin);
  return manifest;
}

}  // namespace muster::checkpoint
