// The copy.
#include "staging_block.h"

#include <cstring>

#include "range_checks.h"

namespace muster::checkpoint::internal {

namespace {

/// A range of a block or more lies on a block's boundary, so that it can go to the disk from here.
std::size_t place_after(std::size_t at, std::size_t range_bytes) {
  if (range_bytes < kDirectBlockBytes) return at;
  return (at + kDirectBlockBytes - 1) / kDirectBlockBytes * kDirectBlockBytes;
}

std::size_t bytes_of(const SourceRange& source) {
  return static_cast<std::size_t>(source.range.bytes());
}

}  // namespace

std::int64_t StagingBlock::bytes_needed(std::span<const SourceRange> sources) {
  std::size_t end = 0;
  for (const SourceRange& source : sources) {
    check_source(source);
    end = place_after(end, bytes_of(source)) + bytes_of(source);
  }
  return static_cast<std::int64_t>(end);
}

void StagingBlock::assign(std::span<const SourceRange> sources) {
  const auto bytes = static_cast<std::size_t>(bytes_needed(sources));
  if (bytes > block_.bytes()) {
    block_ = {};  // before the new block, not after: staging memory is one shard, never two
    block_ = AlignedMemory(bytes);
  }
  sources_.assign(sources.begin(), sources.end());
  std::size_t at = 0;
  for (SourceRange& source : sources_) {
    at = place_after(at, bytes_of(source));
    std::byte* copy = block_.data() + at;
    if (bytes_of(source) > 0) std::memcpy(copy, source.data, bytes_of(source));
    source.data = copy;
    at += bytes_of(source);
  }
}

}  // namespace muster::checkpoint::internal
