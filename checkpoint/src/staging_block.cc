// The copy.
#include "staging_block.h"

#include <cstring>

#include "range_checks.h"

namespace muster::checkpoint::internal {

void StagingBlock::assign(std::span<const SourceRange> sources) {
  std::size_t bytes = 0;
  for (const SourceRange& source : sources) {
    check_source(source);
    bytes += static_cast<std::size_t>(source.range.bytes());
  }
  if (bytes > capacity_bytes_) {
    block_.reset();  // before the new block, not after: staging memory is one shard, never two
    capacity_bytes_ = 0;
    block_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    capacity_bytes_ = bytes;
  }
  sources_.assign(sources.begin(), sources.end());
  std::byte* next = block_.get();
  for (SourceRange& source : sources_) {
    const auto range_bytes = static_cast<std::size_t>(source.range.bytes());
    if (range_bytes > 0) std::memcpy(next, source.data, range_bytes);
    source.data = next;
    next += range_bytes;
  }
}

}  // namespace muster::checkpoint::internal
