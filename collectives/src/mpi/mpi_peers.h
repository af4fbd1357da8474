// What a rank knows of the others of an MPI communicator: what they last did, and which of them
// said that they go no further.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_PEERS_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_PEERS_H_

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport.h"

namespace muster::internal {

/// An MPI communicator, and the lock under which this process calls MPI: several of our
/// communicators may be in flight, and MPI is started for one caller at a time.
struct MpiLink {
  MPI_Comm comm = MPI_COMM_NULL;
  /// Of the same ranks, for MpiPeers: a revocation of `comm` leaves it alone.
  MPI_Comm notices = MPI_COMM_NULL;
  std::shared_ptr<std::mutex> calls;

  /// Collective. Makes `notices`, under the lock. Returns MPI's error.
  int add_notices() { return MPI_Comm_dup(comm, &notices); }

  /// Collective. Where no message of it is under way, nor ever will be: MPI may give its numbers to
  /// another, which would get them.
  void free();
};

/// A rank that cannot go on, or leaves, tells all others so, and why, by a message that they look
/// for while they wait: so whoever waits for it learns the reason at once, with or without MPI's
/// own fault tolerance. Without that MPI itself says nothing of a dead rank: mpirun then ends the
/// job.
class MpiPeers {
 public:
  explicit MpiPeers(const MpiLink& link);
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
  /// ends for the others, too, except where what is in flight cannot be settled without revoking
  /// the communicator. Returns once it is, or after some tenths of a second.
  void give_up(const std::exception_ptr& error) noexcept;
  /// The same at the end, when nothing has failed; nothing more where it has. The link is freed
  /// where all ranks left together.
  void leave() noexcept;

  /// Throws when a rank that `run` needs has said that it will not come. May be called often.
  void check(const OperationRun& run);
  /// The same, and when one has died, whether or not a message of this rank waits for it.
  void check_nobody_fell(const OperationRun& run);
  /// Throws for the `error` that MPI reported towards `rank`, or -1 for all. Where MPI gives no
  /// reason it waits a moment for somebody's.
  [[noreturn]] void throw_lost(const OperationRun& run, int rank, int error);
  /// Throws Timeout naming `absent`; or what one of them knows better.
  [[noreturn]] void throw_timeout(const OperationRun& run, const std::vector<int>& absent);

  int rank() const { return rank_; }
  /// As far as MPI knows; nothing without ULFM.
  std::vector<int> dead_ranks();

  /// A set of messages begins, or ends; what an error left of it is ended in give_up() or leave().
  void add_messages() { ++open_sets_; }
  void remove_messages(const std::vector<MPI_Request>& left);
  /// After those: some cannot be ended, not in a moment either, so that their memory must stay.
  bool memory_in_flight() noexcept;

 private:
  enum class What : std::uint32_t { kNothing = 0, kGaveUp = 1, kLeft = 2 };

  // As it travels. Short enough to be sent at once, whether it is received or not.
  struct Notice {
    What what = What::kNothing;
    std::uint32_t mismatch = 0;
    std::uint64_t first_missed = 0;  // of the sender's collectives
    char text[1000] = {};
  };
  struct Peer {
    OperationKind last = OperationKind::kBarrier;
    std::uint64_t last_sequence = 0;
    bool heard = false;
    Notice notice;
    std::chrono::steady_clock::time_point told;
  };

  void tell(const Notice& notice) noexcept;
  bool makes_communicator() const;
  void revoke() noexcept;
  bool settle(std::chrono::milliseconds patience) noexcept;  // true: nothing is left
  void collect();
  bool concerns(const OperationRun& run, int rank) const;
  bool have_begun_too(const std::vector<int>& ranks) const;
  void throw_told(const OperationRun& run, bool whatever);
  bool has_told(int rank) const {
    return peers_[static_cast<std::size_t>(rank)].notice.what != What::kNothing;
  }
  [[noreturn]] void throw_dead(const OperationRun& run, const std::vector<int>& dead) const;
  [[noreturn]] void throw_notice(const OperationRun& run, int rank);

  MpiLink link_;
  int rank_ = 0;
  std::vector<Peer> peers_;
  bool freed_ = false;
  OperationKind own_ = OperationKind::kBarrier;
  bool ended_ = true;
  std::uint64_t first_missed_ = 0;  // when this rank gave up now
  bool told_ = false;
  int open_sets_ = 0;  // of messages: in give_up(), those of transfers
  std::vector<MPI_Request> orphans_;
  std::chrono::steady_clock::time_point next_check_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_PEERS_H_
