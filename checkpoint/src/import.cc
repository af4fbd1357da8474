// Import, a shard at a time: any file of a checkpoint may hold any range, so each is as large as
// memory should be.
#include "muster/checkpoint/import.h"

#include <algorithm>
#include <vector>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::checkpoint {
namespace {

/// Ranges of the file's tensors, by its names.
using Shard = std::vector<TensorRange>;

/// By name, cut into shards of at most `shard_bytes`. At least one.
std::vector<Shard> plan_shards(const SafetensorsModel& file, std::int64_t shard_bytes) {
  std::vector<Shard> shards(1);
  std::int64_t room = shard_bytes;
  for (const auto& [name, whole] : file.tensors()) {
    TensorRange part = whole;
    const std::int64_t numel = part.end;
    do {
      const std::int64_t element_bytes = dtype_bytes(whole.dtype);
      if (room < element_bytes) {
        shards.emplace_back();
        room = shard_bytes;
      }
      part.end = std::min(numel, part.begin + room / element_bytes);
      shards.back().push_back(part);
      room -= part.bytes();
      part.begin = part.end;
    } while (part.begin < numel);
  }
  return shards;
}

/// Reads one shard and writes it as a rank's.
ShardRecord copy_shard(const SafetensorsModel& file, const Shard& shard, CheckpointStore& store,
                       int rank, int world_size, const std::string& prefix) {
  std::int64_t bytes = 0;
  for (const TensorRange& range : shard) bytes += range.bytes();
  std::vector<std::byte> data(static_cast<std::size_t>(bytes));
  std::vector<SourceRange> sources;
  std::byte* next = data.data();
  for (const TensorRange& range : shard) {
    file.read(range, next);
    TensorRange renamed = range;
    renamed.name = prefix + range.name;
    sources.push_back({std::move(renamed), next});
    next += range.bytes();
  }
  return store.write_shard(/*step=*/0, /*generation=*/0, rank, world_size, sources);
}

Json imported_run_state(const SafetensorsModel& file) {
  return {{"progress", {{"step", 0}}},
          {kImportedField,
           {{"file", file.path().filename().string()}, {"metadata", Json(file.metadata())}}}};
}

}  // namespace

std::filesystem::path import_safetensors(const SafetensorsModel& file, CheckpointStore& store,
                                         const ImportOptions& options) {
  MUSTER_CHECK_GE(options.shard_bytes, 8);
  if (!store.list().empty()) {
    throw CheckpointError(store.directory().string() +
                          ": expected a directory without checkpoints, found some; import into "
                          "another one");
  }
  store.prepare();
  const std::vector<Shard> shards = plan_shards(file, options.shard_bytes);
  const int world_size = static_cast<int>(shards.size());
  try {
    std::vector<ShardRecord> records;
    for (int rank = 0; rank < world_size; ++rank) {
      records.push_back(copy_shard(file, shards[static_cast<std::size_t>(rank)], store, rank,
                                   world_size, options.prefix));
    }
    return store.commit(/*step=*/0, /*generation=*/0, records, imported_run_state(file));
  } catch (const CheckpointError&) {
    store.discard(/*step=*/0, /*generation=*/0);
    throw;
  }
}

}  // namespace muster::checkpoint
