// Records to JSON and back.
#include "muster/checkpoint/shard_record.h"

#include <limits>

#include "chunks.h"
#include "json_fields.h"
#include "muster/base/error.h"
#include "muster/checkpoint/layout.h"

namespace muster::checkpoint {
namespace {

StoredRange stored_range_from_json(const Json& json, const std::string& place) {
  const internal::JsonFields fields(json, place);
  StoredRange stored;
  stored.range.name = fields.text("tensor");
  stored.range.dtype = fields.dtype("dtype");
  stored.range.shape = fields.shape("shape");
  const std::int64_t numel =
      checked_numel(stored.range.name, stored.range.dtype, stored.range.shape);
  stored.range.begin = fields.integer("begin", 0, numel);
  stored.range.end = fields.integer("end", stored.range.begin, numel);
  stored.offset_bytes = fields.integer("offset", 0);
  stored.chunk_crc32c = fields.checksums("crc32c", internal::chunk_count(stored.range.bytes()));
  return stored;
}

}  // namespace

Json ShardRecord::to_json() const {
  Json stored_ranges = Json::array();
  for (const StoredRange& stored : ranges) {
    stored_ranges.push_back({{"tensor", stored.range.name},
                             {"dtype", dtype_name(stored.range.dtype)},
                             {"shape", stored.range.shape},
                             {"begin", stored.range.begin},
                             {"end", stored.range.end},
                             {"offset", stored.offset_bytes},
                             {"crc32c", internal::checksums_text(stored.chunk_crc32c)}});
  }
  return {{"file", file},
          {"rank", rank},
          {"world_size", world_size},
          {"bytes", bytes},
          {"structure_crc32c", internal::checksum_text(structure_crc32c)},
          {"ranges", std::move(stored_ranges)}};
}

ShardRecord ShardRecord::from_json(const Json& json) {
  const internal::JsonFields fields(json, "shard record");
  ShardRecord record;
  record.world_size =
      static_cast<int>(fields.integer("world_size", 1, std::numeric_limits<int>::max()));
  record.rank = static_cast<int>(fields.integer("rank", 0, record.world_size - 1));
  record.file = fields.text("file");
  record.bytes = fields.integer("bytes", 0);
  record.structure_crc32c = fields.checksums("structure_crc32c", 1).front();
  const Json& ranges = fields.array("ranges");
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const std::string place = "shard record of rank " + std::to_string(record.rank) + ", ranges[" +
                              std::to_string(i) + "]";
    record.ranges.push_back(stored_range_from_json(ranges[i], place));
  }
  return record;
}

}  // namespace muster::checkpoint
