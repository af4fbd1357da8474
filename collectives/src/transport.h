// What carries operations between ranks. Blocking and called from one thread at a time: the
// operation queue makes it asynchronous.
#ifndef MUSTER_COLLECTIVES_SRC_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_TRANSPORT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "deadline.h"
#include "muster/collectives/work.h"
#include "operation.h"

namespace muster::internal {

/// Why operations are to end early: set once, by any thread.
class Interruption {
 public:
  enum class Cause {
    kAborted,    ///< On purpose: PeerLost.
    kAbandoned,  ///< The communicator is being destroyed, a mistake of its user: InternalError.
  };

  void set(Cause cause, std::string reason);
  bool is_set() const { return set_.load(std::memory_order_acquire); }
  /// Requires is_set(). `what` was to be done.
  [[noreturn]] void raise(const std::string& what) const;

 private:
  std::mutex mutex_;
  Cause cause_ = Cause::kAborted;
  std::string reason_;
  std::atomic<bool> set_{false};
};

/// One operation's circumstances: for how long it may wait, and what to call it in messages.
class OperationRun {
 public:
  /// `communicator` is "" for the world's.
  OperationRun(const Operation& operation, std::uint64_t sequence, const std::string& communicator,
               std::chrono::milliseconds timeout, const Interruption& interruption,
               const std::atomic<int>& waiters)
      : operation_(&operation),
        whole_(&operation),
        sequence_(sequence),
        communicator_(communicator),
        timeout_(timeout),
        started_(std::chrono::steady_clock::now()),
        deadline_(deadline_after(timeout, started_)),
        interruption_(interruption),
        waiters_(waiters) {}

  /// A part of this operation's way: `step`, which outlives the result, is carried out, and
  /// messages speak of the whole.
  OperationRun step(const Operation& step) const {
    OperationRun part(*this);
    part.operation_ = &step;
    return part;
  }

  const Operation& operation() const { return *operation_; }
  /// What the caller asked for.
  const Operation& whole() const { return *whole_; }
  bool is_step() const { return operation_ != whole_; }
  std::uint64_t sequence() const { return sequence_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  std::chrono::steady_clock::time_point started() const { return started_; }
  bool overdue() const { return std::chrono::steady_clock::now() > deadline_; }
  /// "send(float32, 64 elements) to rank 1".
  std::string call() const;
  /// "all_reduce(sum, float32, 64 elements), operation 12".
  std::string description() const;
  /// Throws when there is an interruption.
  void check_wanted() const;
  /// Some thread waits and has nothing else to do, so that it may as well spin. Otherwise spinning
  /// takes a core from the computation that the operation runs beside.
  bool awaited() const { return waiters_.load(std::memory_order_relaxed) > 0; }

 private:
  const Operation* operation_;
  const Operation* whole_;
  std::uint64_t sequence_;
  const std::string& communicator_;
  std::chrono::milliseconds timeout_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point deadline_;
  const Interruption& interruption_;
  const std::atomic<int>& waiters_;
};

/// What a turn of a transfer came to.
enum class Turn { kIdle, kMoved, kEnded };

/// A send or receive under way.
class Transfer {
 public:
  virtual ~Transfer() = default;

  /// Goes on as far as it can without waiting. Once it has ended it stays so. Throws Mismatch.
  virtual Turn advance(const OperationRun& run) = 0;

  /// To be called now and then while it does not advance: throws PeerLost when the peer will not
  /// come, and Timeout when it is late.
  virtual void check(const OperationRun& run) = 0;
};

class Transport;

/// Who goes on when ranks are lost.
enum class Regrouping {
  kShrink,   ///< Those that are left.
  kReplace,  ///< The same, and new processes in the places of the others.
};

/// The next generation of a transport's ranks, with wires of their own.
struct NextGeneration {
  std::unique_ptr<Transport> transport;
  /// Element r: which rank of the old transport is rank r now; -1: a new process.
  std::vector<int> ranks;
  int rank = 0;  ///< This rank's new one.
};

/// Takes what lies in other ranks' memory, without their help.
class RemoteReader {
 public:
  virtual ~RemoteReader() = default;

  /// Bytes [offset_bytes, offset_bytes + the read's) of rank read.peer's memory go to read.output,
  /// which lies in `memory`: kept until nothing may write to it any more. The caller stays in one
  /// thread.
  virtual std::shared_ptr<WorkState> start(const Operation& read, std::int64_t offset_bytes,
                                           std::shared_ptr<void> memory) = 0;
};

/// As much memory of every rank, for the others to read.
struct WindowMemory {
  std::shared_ptr<std::byte> own;
  std::vector<const std::byte*> mapped;  ///< By rank; nullptr where `reader` must be asked.
  std::unique_ptr<RemoteReader> reader;  ///< Null where all are mapped.
};

/// One rank's end of the wires.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Blocks until the operation, which is no transfer, has ended. Throws PeerLost, Timeout,
  /// Mismatch; the transport is then of no more use.
  virtual void run(const OperationRun& run) = 0;

  /// Collective. All ranks come together and compare their operations, as run() begins; no data
  /// move. Throws as run() does.
  virtual void greet(const OperationRun& run) = 0;

  /// To be called now and then by a rank that waits for something else than its peers, in an
  /// operation in which it needs all of them: throws PeerLost when one is known to be lost.
  virtual void check_peers(const OperationRun& run);

  /// What an operation on device memory that is issued now has to wait for; null where the memory
  /// is the host's. From the thread that issues.
  virtual std::shared_ptr<void> mark_issue() { return nullptr; }

  /// Begins a send or receive. `run` outlives the result. At most one of each kind and peer is
  /// under way at a time, and no other operation meanwhile.
  virtual std::unique_ptr<Transfer> start_transfer(const OperationRun& run) = 0;

  /// After an operation threw `error`: lets other ranks know that this one will not answer, and
  /// why.
  virtual void give_up(const std::exception_ptr& error) noexcept = 0;

  /// After give_up() and the end of all transfers: true when what operations were given may still
  /// be read or written by something that could not be ended, at any time. May wait for it a
  /// moment.
  virtual bool memory_in_flight() noexcept { return false; }

  /// Zeroed memory, from a deterministic sequence on all ranks. `bytes` > 0. Any thread.
  virtual std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) = 0;

  /// The same, one block for all ranks; nullptr where they share no memory.
  virtual std::shared_ptr<std::byte> allocate_shared(std::int64_t) { return nullptr; }

  /// In ascending order; empty where it is this one alone.
  virtual std::vector<int> ranks_sharing_memory() const { return {}; }

  /// Collective, as an operation is. `bytes` > 0; the memory is zeroed. By default it throws
  /// ConfigError.
  virtual WindowMemory open_window(const OperationRun& run, std::int64_t bytes);

  /// Collective, as an operation is: the transport of a part of the ranks. `parts` are all parts
  /// that are made at once, each a list of ranks; this rank is in parts[own].
  virtual std::unique_ptr<Transport> split(const OperationRun& run,
                                           const std::vector<std::vector<int>>& parts, int own) = 0;

  /// Collective over the ranks that are left, which have all given up. Blocks until they agree on
  /// who goes on, for at most run.timeout(). The new transport's ranks have yet to meet, and may
  /// find then that another was lost. Throws PeerLost when the others went on without this rank,
  /// Timeout when nobody came in the place of a lost one, and ConfigError when this transport
  /// cannot do it.
  virtual NextGeneration regroup(const OperationRun& run, Regrouping how);
};

/// Where `rank` stands in `ranks`, which has it.
int place_in(const std::vector<int>& ranks, int rank);

/// Leaks it: for what MPI could not be made to let go of, and may write to at any time.
template <typename T>
void keep_for_ever(T value) noexcept {
  struct Kept {
    T value;
    Kept* next;
  };
  // Whoever looks for leaks sees that these are none.
  static std::atomic<Kept*> all{nullptr};
  auto* const kept = new (std::nothrow) Kept{std::move(value), nullptr};
  if (kept == nullptr) return;
  kept->next = all.load();
  while (!all.compare_exchange_weak(kept->next, kept)) {
  }
}

/// Ordinary zeroed memory, for transports without symmetric memory; aligned to 64 bytes.
std::shared_ptr<std::byte> allocate_zeroed(std::int64_t bytes);

/// Nothing when `bytes` is 0, or both are one place.
void copy_bytes(std::byte* to, const std::byte* from, std::int64_t bytes);

/// Throws Mismatch naming both calls when `theirs` is not `ours`, and PeerLost when theirs is to
/// leave.
void check_same_operation(const OperationRun& run, const Signature& ours, int our_rank,
                          const Signature& theirs, int their_rank);

/// A call of some rank, for messages.
struct RankCall {
  int rank = 0;
  std::string call;
};

/// Throws Mismatch naming both calls.
[[noreturn]] void throw_different_calls(const OperationRun& run, const RankCall& ours,
                                        const RankCall& theirs);

struct RankPair {
  int from = 0;
  int to = 0;
};

/// Throws Mismatch when `ranks.from` gives another number of elements than `ranks.to` expects.
void check_same_count(const OperationRun& run, RankPair ranks, std::int64_t given,
                      std::int64_t expected);

/// Throws Mismatch unless the peer's send, or receive, fits ours.
void check_same_transfer(const OperationRun& run, int rank, const Signature& theirs);

/// The message of an error, without the advice of those that end in the next.
std::string reason_of(const std::exception_ptr& error);

/// The text every Timeout and PeerLost ends with.
extern const char* const kRestartAdvice;

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_TRANSPORT_H_
