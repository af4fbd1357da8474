// Charters, and waiting for one.
#include "reception.h"

#include <algorithm>
#include <string>

#include "deadline.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr int kReceptionBlock = 1;  // NodeGroup::everyone() has block 0

struct Charter {
  std::uint64_t log_offset;
  std::int32_t generation;
  std::int32_t is_whole_node;
  std::int32_t size;
  std::int32_t slots[kMaxLocalRanks];
  std::int32_t previous_ranks[kMaxLocalRanks];
};

}  // namespace

std::uint64_t write_charter(const Members& members) {
  NodeMemory& memory = *members.group.memory;
  const std::uint64_t offset = memory.reserve(sizeof(Charter));
  std::byte* const mapped = memory.map(offset, sizeof(Charter));
  Charter& charter = *reinterpret_cast<Charter*>(mapped);
  charter.log_offset = members.group.log_offset;
  charter.generation = members.group.generation;
  charter.is_whole_node = members.group.is_whole_node ? 1 : 0;
  charter.size = members.group.world_size();
  std::copy(members.group.slots.begin(), members.group.slots.end(), charter.slots);
  std::copy(members.previous_ranks.begin(), members.previous_ranks.end(), charter.previous_ranks);
  memory.unmap(mapped);
  return offset;
}

Members read_charter(const std::shared_ptr<NodeMemory>& memory, std::uint64_t offset,
                     int own_slot) {
  std::byte* const mapped = memory->map(offset, sizeof(Charter));
  const Charter& charter = *reinterpret_cast<const Charter*>(mapped);
  Members members;
  members.group.memory = memory;
  members.group.log_offset = charter.log_offset;
  members.group.generation = charter.generation;
  members.group.is_whole_node = charter.is_whole_node != 0;
  members.group.slots.assign(charter.slots, charter.slots + charter.size);
  members.previous_ranks.assign(charter.previous_ranks, charter.previous_ranks + charter.size);
  memory->unmap(mapped);
  const auto& slots = members.group.slots;
  const auto own = std::find(slots.begin(), slots.end(), own_slot);
  if (own != slots.end()) members.rank = static_cast<int>(own - slots.begin());
  return members;
}

Reception::Reception(NodeMemory& memory)
    : memory_(memory),
      desk_(reinterpret_cast<Desk*>(
          memory.map(memory.named_block(kReceptionBlock, sizeof(Desk)), sizeof(Desk)))) {}

Reception::~Reception() { memory_.unmap(reinterpret_cast<std::byte*>(desk_)); }

void Reception::come(int rank, int slot) {
  std::int32_t before = desk_->candidates[rank].load();
  do {
    if (before == 0 || memory_.peer_is_gone(before - 1)) continue;
    throw ConfigError("joining: expected nobody else in the place of rank " + std::to_string(rank) +
                      ", found process " +
                      std::to_string(memory_.control().slots[before - 1].pid.load()) +
                      "; start one process for each lost rank");
  } while (!desk_->candidates[rank].compare_exchange_weak(before, slot + 1));
}

int Reception::candidate(int rank) const { return desk_->candidates[rank].load() - 1; }

void Reception::publish(std::uint64_t charter) {
  std::uint64_t latest = desk_->charter.load();
  while (latest < charter && !desk_->charter.compare_exchange_weak(latest, charter)) {
  }
  desk_->news.fetch_add(1);
  futex_wake_all(desk_->news);
}

Members Reception::wait_for_admission(const std::shared_ptr<NodeMemory>& memory, int rank, int slot,
                                      std::chrono::milliseconds timeout) {
  Reception reception(*memory);
  reception.come(rank, slot);
  const auto deadline = deadline_after(timeout);
  for (;;) {
    const std::uint32_t seen = reception.desk_->news.load();
    if (const std::uint64_t charter = reception.desk_->charter.load(); charter != 0) {
      Members members = read_charter(memory, charter, slot);
      if (members.rank >= 0) return members;
    }
    if (memory->generation_moved()) {
      throw PeerLost("joining: the launcher ended the generation; start the job again");
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw Timeout("joining: expected the other ranks to call Communicator::replace() within " +
                    std::to_string(timeout.count()) + " ms, since this process is to be rank " +
                    std::to_string(rank) +
                    " in the place of a lost one, found that they did not; see their output");
    }
    futex_wait(reception.desk_->news, seen, kLookUs);
  }
}

}  // namespace muster::internal
