// Coming, proposing, and reading what was decided.
#include "regroup.h"

#include <algorithm>
#include <string>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

// Between two looks at who is left.
constexpr std::int64_t kLookUs = 2000;

}  // namespace

Regroup::Regroup(SymmetricMemory& memory, Rendezvous& rendezvous, int rank)
    : memory_(memory),
      rendezvous_(rendezvous),
      rank_(rank),
      world_size_(memory.group().world_size()),
      board_(reinterpret_cast<Board*>(memory.allocate_shared(sizeof(Board)))),
      proposals_(reinterpret_cast<Proposal*>(
          memory.allocate_shared(static_cast<std::int64_t>(sizeof(Proposal)) * world_size_))) {}

Regroup::Members Regroup::agree(const OperationRun& run) {
  rendezvous_.record(run);
  board_->came[rank_].store(1);
  while (board_->decided.load() == 0) {
    if (memory_.group().memory->generation_moved()) {
      throw PeerLost(run.description() + ": the launcher ended the generation; " + kRestartAdvice);
    }
    if (run.overdue() || nobody_is_missing()) {
      propose();
    } else {
      futex_wait(board_->decided, 0, kLookUs);
    }
  }
  const Proposal& agreed = proposals_[board_->decided.load() - 1];
  Members members{{agreed.ranks, agreed.ranks + agreed.size}, agreed.log_offset};
  for (int r = 0; r < world_size_; ++r) {
    if (!std::binary_search(members.ranks.begin(), members.ranks.end(), r)) memory_.exclude(r);
  }
  if (memory_.is_excluded(rank_)) {
    throw PeerLost(run.description() +
                   ": expected this rank to come while the others waited, found "
                   "that they went on without it; end this process, or allow more time");
  }
  return members;
}

bool Regroup::has_come(int rank) const { return board_->came[rank].load() != 0; }

bool Regroup::nobody_is_missing() {
  for (int r = 0; r < world_size_; ++r) {
    if (!has_come(r) && !rendezvous_.has_left(r)) return false;
  }
  return true;
}

void Regroup::propose() {
  Proposal& own = proposals_[rank_];
  own.size = 0;
  for (int r = 0; r < world_size_; ++r) {
    if (has_come(r) && !rendezvous_.has_left(r)) own.ranks[own.size++] = r;
  }
  own.log_offset =
      memory_.group().memory->reserve(static_cast<std::uint64_t>(SymmetricMemory::log_bytes()));
  std::uint32_t undecided = 0;
  board_->decided.compare_exchange_strong(undecided, static_cast<std::uint32_t>(rank_) + 1);
  futex_wake_all(board_->decided);
}

}  // namespace muster::internal
