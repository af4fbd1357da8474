// The state hash (docs/checkpoint_format.md, "State hash").
#include <algorithm>
#include <bit>
#include <vector>

#include "canonical_json.h"
#include "muster/base/hash.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are hashed as they are stored");

template <typename Integer>
void update_integer(Hash128& hash, Integer value) {
  hash.update(&value, sizeof(value));
}

void update_header(Hash128& hash, const std::string& name, const TensorEntry& entry) {
  update_integer(hash, static_cast<std::uint64_t>(name.size()));
  hash.update(name);
  update_integer(hash, static_cast<std::uint8_t>(entry.dtype));
  update_integer(hash, static_cast<std::uint64_t>(entry.shape.size()));
  for (const std::int64_t dim : entry.shape) update_integer(hash, dim);
}

void update_data(Hash128& hash, const Checkpoint& checkpoint, const std::string& name,
                 const TensorEntry& entry, const ChunkVisitor& visit,
                 std::vector<std::byte>* buffer) {
  const std::int64_t step = kChunkBytes / dtype_bytes(entry.dtype);
  const std::int64_t numel = entry.numel();
  for (std::int64_t begin = 0; begin < numel; begin += step) {
    const TensorRange range{name, entry.dtype, entry.shape, begin, std::min(begin + step, numel)};
    checkpoint.read(range, buffer->data());
    hash.update(buffer->data(), static_cast<std::size_t>(range.bytes()));
    if (visit) visit(range, buffer->data());
  }
}

}  // namespace

std::string Checkpoint::state_hash(const ChunkVisitor& visit) const {
  Hash128 hash;
  hash.update("muster-state-1");
  update_integer(hash, static_cast<std::uint64_t>(manifest_.tensors.size()));
  std::vector<std::byte> buffer(static_cast<std::size_t>(kChunkBytes));
  for (const auto& [name, entry] : manifest_.tensors) {
    update_header(hash, name, entry);
    update_data(hash, *this, name, entry, visit, &buffer);
  }
  const std::string progress = internal::canonical_json(internal::progress_of(manifest_.run_state));
  update_integer(hash, static_cast<std::uint64_t>(progress.size()));
  hash.update(progress);
  return hash.hex();
}

}  // namespace muster::checkpoint
