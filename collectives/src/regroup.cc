// Coming, proposing, and reading what was decided.
#include "regroup.h"

#include <algorithm>

#include "muster/base/error.h"

namespace muster::internal {

Regroup::Regroup(SymmetricMemory& memory, Rendezvous& rendezvous, int rank)
    : memory_(memory),
      node_memory_(*memory.group().memory),
      rendezvous_(rendezvous),
      reception_(memory.group().is_whole_node ? std::make_unique<Reception>(node_memory_)
                                              : nullptr),
      rank_(rank),
      world_size_(memory.group().world_size()),
      board_(reinterpret_cast<Board*>(memory.allocate_shared(sizeof(Board)))) {}

Members Regroup::agree(const OperationRun& run, Regrouping how) {
  if (how == Regrouping::kReplace && !reception_) {
    throw ConfigError(
        "replace: expected the world's communicator, found a part of it; replace the world's lost "
        "ranks and split the result, or shrink this communicator");
  }
  rendezvous_.record(run);
  board_->came[rank_].store(wish(how));
  while (board_->charter.load() == 0) {
    if (node_memory_.generation_moved()) {
      throw PeerLost(run.description() + ": the launcher ended the generation; " + kRestartAdvice);
    }
    const bool overdue = run.overdue();
    if (overdue && how == Regrouping::kReplace && !all_places_are_taken()) throw_timeout(run);
    if (overdue || nobody_is_missing(how)) {
      propose(how);
    } else {
      futex_wait(board_->news, 0, kLookUs);
    }
  }
  const std::uint64_t charter = board_->charter.load();
  if (reception_) reception_->publish(charter);
  const int own_slot = memory_.group().slots[static_cast<std::size_t>(rank_)];
  Members members = read_charter(memory_.group().memory, charter, own_slot);
  for (int r = 0; r < world_size_; ++r) {
    const auto& ranks = members.previous_ranks;
    if (std::find(ranks.begin(), ranks.end(), r) == ranks.end()) memory_.exclude(r);
  }
  if (members.rank >= 0) return members;
  throw PeerLost(run.description() +
                 ": expected this rank to come while the others waited, found that they went on "
                 "without it; end this process, or allow more time");
}

int Regroup::slot_of_candidate(int rank) {
  const int slot = reception_->candidate(rank);
  const bool is_member = slot == memory_.group().slots[static_cast<std::size_t>(rank)];
  return slot < 0 || is_member || node_memory_.peer_is_gone(slot) ? -1 : slot;
}

int Regroup::next_slot(int rank, Regrouping how) {
  const bool comes = has_come(rank, how) && !rendezvous_.has_left(rank);
  if (comes) return memory_.group().slots[static_cast<std::size_t>(rank)];
  return how == Regrouping::kReplace ? slot_of_candidate(rank) : -1;
}

bool Regroup::is_missing(int rank, Regrouping how) {
  if (has_come(rank, how)) return false;
  if (!rendezvous_.has_left(rank)) return true;
  return how == Regrouping::kReplace && slot_of_candidate(rank) < 0;
}

bool Regroup::nobody_is_missing(Regrouping how) {
  for (int r = 0; r < world_size_; ++r) {
    if (is_missing(r, how)) return false;
  }
  return true;
}

bool Regroup::all_places_are_taken() {
  for (int r = 0; r < world_size_; ++r) {
    if (next_slot(r, Regrouping::kReplace) < 0) return false;
  }
  return true;
}

// This rank may come again, for the same or for another wish.
void Regroup::throw_timeout(const OperationRun& run) {
  std::string missing;
  for (int r = 0; r < world_size_; ++r) {
    const bool calls_shrink = has_come(r, Regrouping::kShrink) && !rendezvous_.has_left(r);
    if (next_slot(r, Regrouping::kReplace) >= 0) continue;
    missing += (missing.empty() ? "rank " : ", rank ") + std::to_string(r) +
               (calls_shrink ? " (which called shrink)" : "");
  }
  throw Timeout(run.description() + ": expected every rank, or a process in its place, within " +
                std::to_string(run.timeout().count()) + " ms, found nobody for " + missing +
                "; start one with MUSTER_REPLACEMENT=1 and call replace() again, or shrink()");
}

void Regroup::propose(Regrouping how) {
  Members members;
  members.group = {memory_.group().memory, {}, 0, {}, how == Regrouping::kReplace};
  members.group.log_offset =
      node_memory_.reserve(static_cast<std::uint64_t>(SymmetricMemory::log_bytes()));
  members.group.generation = memory_.group().generation + 1;
  for (int r = 0; r < world_size_; ++r) {
    const int slot = next_slot(r, how);
    if (slot < 0 && how == Regrouping::kShrink) continue;
    if (slot < 0) return;  // lost meanwhile: to be looked at again
    const bool is_new = slot != memory_.group().slots[static_cast<std::size_t>(r)];
    members.group.slots.push_back(slot);
    members.previous_ranks.push_back(is_new ? -1 : r);
  }
  std::uint64_t undecided = 0;
  board_->charter.compare_exchange_strong(undecided, write_charter(members));
  board_->news.store(1);
  futex_wake_all(board_->news);
}

}  // namespace muster::internal
