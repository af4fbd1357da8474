// Where the ranks of a node meet: arrivals counted in shared memory, and the waits that notice who
// will not come.
#ifndef MUSTER_COLLECTIVES_SRC_RENDEZVOUS_H_
#define MUSTER_COLLECTIVES_SRC_RENDEZVOUS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/node_memory.h"
#include "operation.h"
#include "symmetric_memory.h"
#include "transport.h"
#include "yield_habit.h"

namespace muster::internal {

inline constexpr std::uint64_t kNotSymmetric = ~std::uint64_t{0};
inline constexpr std::size_t kMaxPublishedBlocks = 64;

/// What a rank tells the others of its current operation.
struct Announcement {
  Signature signature;
  std::uint32_t blocks = 0;
  /// Of blocks 0..blocks-1 in the node memory, or kNotSymmetric.
  std::uint64_t locations[kMaxPublishedBlocks];
  /// Of the output of a reduction, where it is another tensor than block 0.
  std::uint64_t output_location;
  /// Of each part, where the ranks do not know each other's.
  std::int64_t counts[kMaxLocalRanks];
  /// And what it expects of each rank.
  std::int64_t expected[kMaxLocalRanks];
};

/// A barrier over all ranks of a group, at which they read each other's announcement.
/// Arrivals are counted: every rank writes only its own count, and waits until all others reach it.
class Rendezvous {
 public:
  Rendezvous(SymmetricMemory& memory, int rank);

  /// Starts an operation: to be filled before begin().
  Announcement& new_announcement();
  /// Valid from begin() to the next new_announcement().
  const Announcement& announcement(int rank) { return announcement_of(rank); }

  /// Collective. The first meeting of an operation. Throws as meet() does, and Mismatch when a rank
  /// announced another operation.
  void begin(const OperationRun& run);

  /// Collective. What any rank wrote before is visible to all ranks after. Throws PeerLost naming
  /// the rank when one died, left or gave up; Timeout naming those that are absent.
  void meet(const OperationRun& run);

  /// Whether the node has more ranks than cores for them; nothing before the first meeting.
  std::optional<bool> is_known_crowded() const { return crowded_; }

  /// Throws PeerLost when a rank died or gave up, whether or not it has arrived here.
  void check_nobody_fell(const OperationRun& run);

  /// Tells the others not to wait for this rank, and why.
  void give_up(const std::string& reason) noexcept;
  /// The same at the end, when nothing has failed.
  void leave() noexcept;
  /// True when `rank` died or left.
  bool has_left(int rank);

  // For transfers between two ranks, which do not meet here.

  /// What the messages of others say that this rank does.
  void record(const OperationRun& run);
  /// True when `peer` died, left or gave up, or waits for this rank in a collective that stands
  /// behind the transfer here: it will not transfer what it has not begun to.
  bool will_not_answer(int peer);
  /// Requires that. Throws PeerLost, or Mismatch, which the ranks in that collective then throw
  /// too.
  [[noreturn]] void throw_no_answer(int peer, const OperationRun& run);
  [[noreturn]] void throw_timeout(const OperationRun& run, int absent_peer);

 private:
  // Ranks read announcement n while others already write n + 1, but never n + 2: to write that,
  // they have met once more.
  struct alignas(128) Post {
    std::atomic<std::uint32_t> arrivals;
    std::atomic<std::uint32_t> gave_up;  // 0: not; else it was the nth to do so
    std::atomic<std::uint32_t> left;
    std::atomic<std::int32_t> cpu;     // where the rank was when it arrived last
    std::atomic<std::uint64_t> begun;  // announcements that are written
    char refused_call[160];  // with which the rank could not go on; valid once it gave up, or ""
    char reason[400];        // valid once the rank gave up
    alignas(128) Announcement announcements[2];
  };

  // Where all ranks sleep. The last one to arrive wakes them, so that a rank sleeps at most once a
  // meeting.
  struct alignas(128) Gate {
    std::atomic<std::uint32_t> openings;  // futex word
    alignas(128) std::atomic<std::uint32_t> sleepers;
    std::atomic<std::uint32_t> ranks_that_gave_up;
  };

  Announcement& announcement_of(int rank);
  RankSlot& slot(int rank) {
    return node_memory_.control().slots[slots_[static_cast<std::size_t>(rank)]];
  }
  bool gave_up(int rank) const { return posts_[rank].gave_up.load(std::memory_order_acquire) != 0; }
  void arrive();
  bool has_arrived(int rank) const;
  bool all_have_arrived() const;
  bool spin(const OperationRun& run);
  void sleep();
  void open_gate();
  bool is_crowded();
  bool is_missing_here() const;
  bool give_way(const OperationRun& run);
  void check_nobody_lost(const OperationRun& run);
  enum class Loss { kNone, kGivenUpByLauncher, kGaveUp, kLeft, kDied };
  Loss loss_of(int rank, bool needed);
  bool is_in_later_collective(int peer) const;
  void check_same_calls(const OperationRun& run);
  [[noreturn]] void throw_lost(const OperationRun& run, int noticed);
  void check_somebody_absent(const OperationRun& run);
  bool gave_up_before(int rank, int other) const;
  int name_of(int rank) const {
    return names_.empty() ? rank : names_[static_cast<std::size_t>(rank)];
  }
  std::string last_seen(int rank);
  /// In this meeting, but for `except`; -1 for none.
  std::string absent_ranks(int except);

  SymmetricMemory& memory_;
  NodeMemory& node_memory_;
  const std::vector<int> slots_;
  const std::vector<int> names_;
  int rank_;
  int world_size_;
  std::optional<bool> crowded_;
  YieldHabit yields_;
  Gate* gate_;
  Post* posts_;
  std::uint32_t arrivals_ = 0;   // this rank's
  std::uint64_t announced_ = 0;  // operations, to alternate between announcements
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_RENDEZVOUS_H_
