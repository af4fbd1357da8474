// The log of allocations and the two directions of translation.
#include "symmetric_memory.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kLargestPageBytes = 65536;

std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Copies of one tensor lie apart by an odd number of pages, so that no two are a multiple of 256
// MiB apart: some CPUs take several times as long to walk through two such in step, since their
// caches tell them apart by lower bits of the address alone.
std::uint64_t odd_pages(std::uint64_t bytes) {
  return (round_up(bytes, kPageBytes) / kPageBytes | 1) * kPageBytes;
}

}  // namespace

NodeGroup NodeGroup::everyone(std::shared_ptr<NodeMemory> memory) {
  NodeGroup group;
  group.slots.resize(memory->control().local_world_size);
  std::iota(group.slots.begin(), group.slots.end(), 0);
  group.log_offset =
      memory->named_block(0, static_cast<std::uint64_t>(SymmetricMemory::log_bytes()));
  group.is_whole_node = true;
  group.generation = static_cast<int>(memory->generation());
  group.memory = std::move(memory);
  return group;
}

SymmetricMemory::SymmetricMemory(NodeGroup group, int rank)
    : group_(std::move(group)),
      rank_(rank),
      log_(reinterpret_cast<Log*>(
          group_.memory->map(group_.log_offset, static_cast<std::uint64_t>(log_bytes())))) {}

// Of several that leave at once the last sees all others done.
SymmetricMemory::~SymmetricMemory() {
  if (!owner_.is_this()) return;
  log_->uses[rank_].store(static_cast<std::uint32_t>(Use::kDone));
  bool in_use = false;
  std::vector<bool> keeps;
  for (int r = 0; r < group_.world_size(); ++r) {
    const Use use = use_of(r);
    keeps.push_back(use != Use::kDone && lives(r));
    if (keeps.back() && use == Use::kUses) in_use = true;
  }
  NodeMemory& memory = *group_.memory;
  for (const Block& block : blocks_) {
    memory.unmap(block.base);
    for (std::size_t r = 0; r < keeps.size() && !in_use; ++r) {
      if (!keeps[r]) memory.release(block.offset + r * block.stride, block.stride);
    }
  }
  // Room is taken by whole pages.
  const auto release_all = [&](std::uint64_t offset, std::uint64_t bytes) {
    memory.release(offset, round_up(bytes, kLargestPageBytes));
  };
  const bool last = std::find(keeps.begin(), keeps.end(), true) == keeps.end();
  for (const Shared& shared : shared_) {
    memory.unmap(shared.base);
    if (last) release_all(shared.offset, shared.bytes);
  }
  memory.unmap(reinterpret_cast<std::byte*>(log_));
  if (last) release_all(group_.log_offset, static_cast<std::uint64_t>(log_bytes()));
}

bool SymmetricMemory::lives(int rank) {
  return !group_.memory->peer_is_gone(group_.slots[static_cast<std::size_t>(rank)]);
}

void SymmetricMemory::exclude(int rank) {
  std::uint32_t uses = static_cast<std::uint32_t>(Use::kUses);
  log_->uses[rank].compare_exchange_strong(uses, static_cast<std::uint32_t>(Use::kExcluded));
}

bool SymmetricMemory::is_excluded(int rank) const { return use_of(rank) == Use::kExcluded; }

std::int64_t SymmetricMemory::log_bytes() { return sizeof(Log); }

std::uint64_t SymmetricMemory::reserve_logs(std::size_t groups) {
  return group_.memory->reserve(log_at(0, groups));
}

// Each begins at a page of any size, to be mapped by itself.
std::uint64_t SymmetricMemory::log_at(std::uint64_t logs, std::size_t group) {
  return logs + group * round_up(sizeof(Log), kLargestPageBytes);
}

// Whoever loses the race for the entry leaves a hole: addresses, but no memory. A request for which
// there is no room leaves nothing, so that a smaller one may follow.
std::uint64_t SymmetricMemory::place_next(std::uint64_t bytes) {
  if (allocations_ == kMaxAllocations) {
    throw ConfigError("symmetric memory: expected at most " + std::to_string(kMaxAllocations) +
                      " allocations on one communicator, found one more; allocate once and take "
                      "slices");
  }
  LogEntry& entry = log_->entries[allocations_];
  std::uint64_t offset = entry.offset.load();
  const std::uint64_t candidate = offset == 0 ? group_.memory->reserve(bytes) : 0;
  std::uint64_t agreed_bytes = 0;
  if (!entry.bytes.compare_exchange_strong(agreed_bytes, bytes) && agreed_bytes != bytes) {
    throw ConfigError("symmetric memory: expected allocation " + std::to_string(allocations_) +
                      " to have the " + std::to_string(agreed_bytes) +
                      " bytes that another rank asked for, found " + std::to_string(bytes) +
                      "; every rank must call allocate_symmetric with the same sizes in the same "
                      "order");
  }
  if (offset == 0) {
    offset = entry.offset.compare_exchange_strong(offset, candidate) ? candidate : offset;
  }
  ++allocations_;
  return offset;
}

std::uint64_t SymmetricMemory::reserve_shared(std::int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  return place_next(static_cast<std::uint64_t>(bytes));
}

std::byte* SymmetricMemory::allocate_shared(std::int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto size = static_cast<std::uint64_t>(bytes);
  const std::uint64_t offset = place_next(size);
  return shared_.emplace_back(Shared{offset, size, group_.memory->map(offset, size)}).base;
}

std::vector<std::byte*> SymmetricMemory::allocate_copies(std::int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  // What is more than there is stays so, and the copies together do not overflow.
  const std::uint64_t stride =
      odd_pages(std::min(static_cast<std::uint64_t>(bytes), NodeMemory::kMostAtOnceBytes));
  const std::uint64_t total = stride * static_cast<std::uint64_t>(group_.world_size());
  const std::uint64_t offset = place_next(total);
  const Block block{offset, stride, group_.memory->map(offset, total)};
  const auto after = std::upper_bound(
      blocks_.begin(), blocks_.end(), offset,
      [](std::uint64_t value, const Block& other) { return value < other.offset; });
  blocks_.insert(after, block);
  std::vector<std::byte*> copies;
  copies.reserve(group_.slots.size());
  for (int r = 0; r < group_.world_size(); ++r) {
    copies.push_back(block.base + static_cast<std::uint64_t>(r) * stride);
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
  const std::uint64_t total = block.stride * static_cast<std::uint64_t>(group_.world_size());
  if (within > total || static_cast<std::uint64_t>(bytes) > total - within) return nullptr;
  return block.base + within;
}

}  // namespace muster::internal
