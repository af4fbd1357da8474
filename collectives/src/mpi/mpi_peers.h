// What a rank knows of the others of an MPI communicator: what they last did, and which of them
// said that they go no further.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_PEERS_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_PEERS_H_

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "mpi/mpi_wires.h"
#include "transport.h"

namespace muster::internal {

/// A rank that cannot go on, or leaves, tells all others so, and why, by a message that they look
/// for while they wait: so whoever waits for it learns the reason at once, with or without MPI's
/// own fault tolerance. Without that MPI itself says nothing of a dead rank: mpirun then ends the
/// job.
class MpiPeers {
 public:
  /// `link` outlives this.
  explicit MpiPeers(const MpiLink& link) : link_(link), peers_(link.ranks.size()) {}
  MpiPeers(const MpiPeers&) = delete;
  MpiPeers& operator=(const MpiPeers&) = delete;

  /// This rank begins, and ends, a collective.
  void begin(const OperationRun& run);
  void end(const OperationRun& run);
  /// `peer` called `kind` where this rank has begun a collective.
  void heard(int peer, OperationKind kind);

  /// "rank 1 (last in barrier, operation 4), rank 2 (before its first operation)".
  std::string last_seen(std::vector<int> ranks) const;

  /// Tells the others that this rank takes no part any more in the collective that it has begun and
  /// has not ended, nor in any later one, nor in transfers, because of `error`. What has ended here
  /// ends for the others, too. Returns once nothing is in flight, or after some tenths of a second.
  void give_up(const std::exception_ptr& error) noexcept;
  /// The same at the end, when nothing has failed; nothing more where it has.
  void leave() noexcept;

  /// Throws when a rank that `run` needs has said that it will not come. May be called often.
  void check(const OperationRun& run);
  /// The same, and when one has died, whether or not a message of this rank waits for it.
  void check_nobody_fell(const OperationRun& run);
  /// Throws for the `error` that MPI reported towards `rank`.
  [[noreturn]] void throw_lost(const OperationRun& run, int rank, int error);
  /// Throws Timeout naming `absent`; or what one of them knows better.
  [[noreturn]] void throw_timeout(const OperationRun& run, const std::vector<int>& absent);

  /// What an error left of a set of messages: ended in give_up() or leave().
  void adopt_messages(const std::vector<MPI_Request>& left);
  /// After those: some cannot be ended, not in a moment either, so that their memory must stay.
  bool memory_in_flight() noexcept;

 private:
  using What = MpiNotice::What;

  struct Peer {
    OperationKind last = OperationKind::kBarrier;
    std::uint64_t last_sequence = 0;
    bool heard = false;
    MpiNotice notice;
    std::chrono::steady_clock::time_point told;
  };

  void tell(const MpiNotice& notice) noexcept;
  bool settle(std::chrono::milliseconds patience) noexcept;  // true: nothing is left
  void collect();
  bool concerns(const OperationRun& run, int rank) const;
  bool may_wait_in_turn(const std::vector<int>& absent) const;
  void throw_told(const OperationRun& run);
  bool has_told(int rank) const {
    return peers_[static_cast<std::size_t>(rank)].notice.what != What::kNothing;
  }
  [[noreturn]] void throw_dead(const OperationRun& run, const std::vector<int>& dead) const;
  [[noreturn]] void throw_notice(const OperationRun& run, int rank);

  const MpiLink& link_;
  std::vector<Peer> peers_;
  OperationKind own_ = OperationKind::kBarrier;
  bool ended_ = true;
  std::uint64_t first_missed_ = 0;  // when this rank gave up now
  bool told_ = false;
  std::vector<MPI_Request> orphans_;
  std::chrono::steady_clock::time_point next_check_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_PEERS_H_
