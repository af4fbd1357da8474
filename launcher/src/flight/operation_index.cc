// Sorting operations into communicators.
#include "flight/operation_index.h"

#include <algorithm>

namespace muster::launcher {
namespace {

/// What a record's communicator id means in `log`.
FlightCommunicator communicator_of(const FlightLog& log, std::uint32_t id) {
  for (const FlightCommunicator& one : log.communicators) {
    if (one.id == id) return one;
  }
  if (id == 0) return {0, log.rank, log.world_size, "world"};
  // The number is the process's own.
  return {id, -1, 0, std::to_string(id) + " of rank " + std::to_string(log.rank)};
}

void add_member(Group& group, const FlightCommunicator& entry, const RankEvidence& rank) {
  group.members[rank.log.rank].rank = &rank;
  group.size = std::max(group.size, entry.size);
  if (group.world_ranks.size() < static_cast<std::size_t>(group.size)) {
    group.world_ranks.resize(static_cast<std::size_t>(group.size), -1);
  }
  if (entry.rank >= 0 && entry.rank < group.size) {
    group.world_ranks[static_cast<std::size_t>(entry.rank)] = rank.log.rank;
  }
}

void add_operation(GroupMember& member, const FlightOperation& operation) {
  if (operation.is_collective()) {
    member.collectives[operation.sequence] = &operation;
  } else {
    member.transfers.push_back(&operation);
  }
}

}  // namespace

const FlightOperation* GroupMember::at(std::uint64_t sequence) const {
  const auto found = collectives.find(sequence);
  return found == collectives.end() ? nullptr : found->second;
}

const FlightOperation* GroupMember::last_begun() const {
  for (auto it = collectives.rbegin(); it != collectives.rend(); ++it) {
    if (it->second->started_ns != 0) return it->second;
  }
  return nullptr;
}

bool GroupMember::has_passed(std::uint64_t sequence) const {
  const FlightOperation* const last = last_begun();
  return at(sequence) == nullptr && last != nullptr && last->sequence > sequence;
}

std::vector<int> Group::known_ranks() const {
  std::vector<int> ranks;
  if (is_world()) {
    for (int rank = 0; rank < size; ++rank) ranks.push_back(rank);
  } else {
    for (const auto& [rank, member] : members) ranks.push_back(rank);
  }
  return ranks;
}

std::vector<Group> index_operations(const FlightEvidence& evidence) {
  Group world;
  world.name = "world";
  world.size = evidence.world_size;
  for (int rank = 0; rank < world.size; ++rank) world.world_ranks.push_back(rank);
  std::vector<Group> groups{world};
  const auto group_named = [&](const std::string& name) -> Group& {
    for (Group& group : groups) {
      if (group.name == name) return group;
    }
    groups.push_back({});
    groups.back().name = name;
    return groups.back();
  };
  for (const RankEvidence& rank : evidence.ranks) {
    add_member(groups.front(), {0, rank.log.rank, world.size, "world"}, rank);
    for (const FlightCommunicator& entry : rank.log.communicators) {
      add_member(group_named(entry.name), entry, rank);
    }
    for (const FlightOperation& operation : rank.log.operations) {
      const FlightCommunicator entry = communicator_of(rank.log, operation.communicator);
      Group& group = group_named(entry.name);
      if (!group.members.contains(rank.log.rank)) add_member(group, entry, rank);
      add_operation(group.members[rank.log.rank], operation);
    }
  }
  return groups;
}

}  // namespace muster::launcher
