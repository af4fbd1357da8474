// The bump pointer and the two directions of translation.
#include "symmetric_memory.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
// Blocks begin where any kernel's pages do, since each is mapped on its own.
constexpr std::uint64_t kBlockAlignment = 65536;

std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

SymmetricMemory::SymmetricMemory(std::shared_ptr<NodeMemory> node_memory, int rank, int world_size)
    : node_memory_(std::move(node_memory)),
      rank_(rank),
      world_size_(world_size),
      next_offset_(NodeMemory::symmetric_offset_bytes()) {}

SymmetricMemory::Block SymmetricMemory::allocate(std::int64_t bytes, int copies) {
  const std::uint64_t stride = round_up(static_cast<std::uint64_t>(bytes), kPageBytes);
  const std::uint64_t total =
      round_up(stride * static_cast<std::uint64_t>(copies), kBlockAlignment);
  if (total > NodeMemory::kCapacityBytes - next_offset_) {
    throw ConfigError("symmetric memory: expected at most " +
                      std::to_string(NodeMemory::kCapacityBytes - next_offset_) +
                      " bytes more on this node, found a request for " + std::to_string(total) +
                      "; use a smaller model, or fewer ranks on the node");
  }
  const Block block{next_offset_, stride, node_memory_->map(next_offset_, total)};
  next_offset_ += total;
  return block;
}

std::byte* SymmetricMemory::allocate_shared(std::int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  return allocate(bytes, 1).base;
}

std::vector<std::byte*> SymmetricMemory::allocate_copies(std::int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Block block = allocate(bytes, world_size_);
  blocks_.push_back(block);
  std::vector<std::byte*> copies;
  for (int r = 0; r < world_size_; ++r) {
    copies.push_back(block.base + static_cast<std::uint64_t>(r) * block.stride);
  }
  return copies;
}

std::optional<std::uint64_t> SymmetricMemory::location(const std::byte* address,
                                                       std::int64_t bytes) const {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Block& block : blocks_) {
    const std::uint64_t start = static_cast<std::uint64_t>(rank_) * block.stride;
    const std::byte* own = block.base + start;
    if (address < own || address + bytes > own + block.stride) continue;
    return block.offset + start + static_cast<std::uint64_t>(address - own);
  }
  return std::nullopt;
}

std::byte* SymmetricMemory::at_location(std::uint64_t location, std::int64_t bytes) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto after = std::upper_bound(
      blocks_.begin(), blocks_.end(), location,
      [](std::uint64_t value, const Block& block) { return value < block.offset; });
  if (after == blocks_.begin()) return nullptr;
  const Block& block = *std::prev(after);
  const std::uint64_t within = location - block.offset;
  const std::uint64_t total = block.stride * static_cast<std::uint64_t>(world_size_);
  if (within > total || static_cast<std::uint64_t>(bytes) > total - within) return nullptr;
  return block.base + within;
}

}  // namespace muster::internal
