// The copy.
#include "staging_block.h"

#include <algorithm>
#include <cstring>

#include "range_checks.h"

namespace muster::checkpoint::internal {

namespace {

// How often who waits for the copy hears of it.
constexpr std::size_t kStrideBytes = 4 << 20;

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

void StagingBlock::reserve(std::span<const SourceRange> sources) {
  const auto bytes = static_cast<std::size_t>(bytes_needed(sources));
  if (bytes > block_.bytes()) {
    block_ = {};  // before the new block, not after: staging memory is one shard, never two
    block_ = AlignedMemory(bytes);
  }
  copied_up_to_ = block_.data();
  sources_.assign(sources.begin(), sources.end());
  std::size_t at = 0;
  for (SourceRange& source : sources_) {
    at = place_after(at, bytes_of(source));
    source.data = block_.data() + at;
    at += bytes_of(source);
  }
}

void StagingBlock::copy(std::span<const SourceRange> sources) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto* from = static_cast<const std::byte*>(sources[i].data);
    auto* to = static_cast<std::byte*>(const_cast<void*>(sources_[i].data));
    for (std::size_t at = 0; at < bytes_of(sources[i]); at += kStrideBytes) {
      const std::size_t part = std::min(kStrideBytes, bytes_of(sources[i]) - at);
      std::memcpy(to + at, from + at, part);
      copied_up_to_ = to + at + part;
      copied_up_to_.notify_all();
    }
  }
}

void StagingBlock::wait_for_bytes(const std::byte* end) const {
  for (const std::byte* found = copied_up_to_; found < end; found = copied_up_to_) {
    copied_up_to_.wait(found);
  }
}

}  // namespace muster::checkpoint::internal
