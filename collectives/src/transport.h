// What carries operations between ranks. Blocking and called from one thread at a time: the
// operation queue makes it asynchronous.
#ifndef MUSTER_COLLECTIVES_SRC_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_TRANSPORT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "operation.h"

namespace muster::internal {

/// One operation's circumstances: for how long it may wait, and what to call it in messages.
class OperationRun {
 public:
  OperationRun(const Operation& operation, std::uint64_t sequence,
               std::chrono::milliseconds timeout, const std::atomic<bool>& abandoned)
      : operation_(operation),
        sequence_(sequence),
        timeout_(timeout),
        started_(std::chrono::steady_clock::now()),
        abandoned_(abandoned) {}

  const Operation& operation() const { return operation_; }
  std::uint64_t sequence() const { return sequence_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  bool overdue() const { return std::chrono::steady_clock::now() - started_ > timeout_; }
  /// The communicator is being destroyed: nobody wants the result.
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }
  /// "all_reduce(sum, float32, 64 elements), operation 12".
  std::string description() const;
  /// Throws InternalError when the operation is abandoned.
  void check_wanted() const;

 private:
  const Operation& operation_;
  std::uint64_t sequence_;
  std::chrono::milliseconds timeout_;
  std::chrono::steady_clock::time_point started_;
  const std::atomic<bool>& abandoned_;
};

/// One rank's end of the wires.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Blocks until the operation has ended. Throws PeerLost, Timeout, Mismatch; the transport is
  /// then of no more use.
  virtual void run(const OperationRun& run) = 0;

  /// After run() threw: lets other ranks know that this one will not answer.
  virtual void give_up() noexcept = 0;

  /// Zeroed memory, from a deterministic sequence on all ranks. `bytes` > 0. Any thread.
  virtual std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) = 0;
};

/// Ordinary zeroed memory, for transports without symmetric memory; aligned to 64 bytes.
std::shared_ptr<std::byte> allocate_zeroed(std::int64_t bytes);

/// Throws Mismatch naming both calls when `theirs` is not `ours`, and PeerLost when theirs is to
/// leave.
void check_same_operation(const OperationRun& run, const Signature& ours, int our_rank,
                          const Signature& theirs, int their_rank);

/// The text every Timeout and PeerLost ends with.
extern const char* const kRestartAdvice;

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_TRANSPORT_H_
