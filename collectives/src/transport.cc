// What all transports share: messages and ordinary memory.
#include "transport.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

const char* const kRestartAdvice =
    "the job cannot go on in this generation: restart it from its last checkpoint (muster run "
    "--max-restarts does so)";

std::string reason_of(const std::exception_ptr& error) {
  std::string text = "unknown";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    text = known.what();
  } catch (...) {
  }
  return text.substr(0, text.find(std::string("; ") + kRestartAdvice));
}

void Interruption::set(Cause cause, std::string reason) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (is_set()) return;
  cause_ = cause;
  reason_ = std::move(reason);
  set_.store(true, std::memory_order_release);
}

void Interruption::raise(const std::string& what) const {
  if (cause_ == Cause::kAbandoned) throw InternalError(what + ": " + reason_);
  throw PeerLost(what + ": " + reason_);
}

WindowMemory Transport::open_window(const OperationRun& run, std::int64_t) {
  throw ConfigError(run.description() +
                    ": expected a communicator for host memory, found one for a GPU's; open the "
                    "window on World::communicator() or on what its split() made");
}

std::string OperationRun::call() const {
  std::string text = whole_->signature.description();
  if (whole_->flow() != Flow::kPeer) return text;
  text += whole_->signature.kind == OperationKind::kSend ? " to rank " : " from rank ";
  return text + std::to_string(whole_->peer);
}

std::string OperationRun::description() const {
  const std::string text = call() + ", operation " + std::to_string(sequence_);
  return communicator_.empty() ? text : text + " of " + communicator_;
}

void OperationRun::check_wanted() const {
  if (interruption_.is_set()) interruption_.raise(description());
}

void Transport::check_peers(const OperationRun&) {}

NextGeneration Transport::regroup(const OperationRun& run, Regrouping) {
  throw ConfigError(run.description() +
                    ": expected a transport that can go on without lost ranks (shared memory, or "
                    "MPI with ULFM), found one that cannot; start the job again from its last "
                    "checkpoint");
}

int place_in(const std::vector<int>& ranks, int rank) {
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

std::shared_ptr<std::byte> allocate_zeroed(std::int64_t bytes) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t rounded =
      (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    throw ConfigError("memory: expected " + std::to_string(rounded) +
                      " bytes more for this process, found that the system has not as many; use a "
                      "smaller model, or fewer ranks on the node");
  }
  std::memset(memory, 0, rounded);
  return {static_cast<std::byte*>(memory), [](std::byte* bytes_) { std::free(bytes_); }};
}

void copy_bytes(std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

void check_same_operation(const OperationRun& run, const Signature& ours, int our_rank,
                          const Signature& theirs, int their_rank) {
  if (theirs == ours) return;
  if (ours.kind == OperationKind::kLeave) {
    throw PeerLost(run.description() + ": rank " + std::to_string(their_rank) + " goes on with " +
                   theirs.description() + "; " + kRestartAdvice);
  }
  if (theirs.kind == OperationKind::kLeave) {
    throw PeerLost(run.description() + ": rank " + std::to_string(their_rank) + " left; " +
                   kRestartAdvice);
  }
  throw_different_calls(run, {our_rank, ours.description()}, {their_rank, theirs.description()});
}

void throw_different_calls(const OperationRun& run, const RankCall& ours, const RankCall& theirs) {
  throw Mismatch("operation " + std::to_string(run.sequence()) + ": rank " +
                 std::to_string(ours.rank) + " called " + ours.call + ", rank " +
                 std::to_string(theirs.rank) + " called " + theirs.call +
                 "; every rank must make the same calls in the same order, with the same dtype and "
                 "number of elements");
}

void check_same_count(const OperationRun& run, RankPair ranks, std::int64_t given,
                      std::int64_t expected) {
  if (given == expected) return;
  throw Mismatch(run.description() + ": rank " + std::to_string(ranks.from) + " gives " +
                 std::to_string(given) + " elements for rank " + std::to_string(ranks.to) +
                 ", which expects " + std::to_string(expected) +
                 "; a rank's input_counts must be the others' output_counts");
}

void check_same_transfer(const OperationRun& run, int rank, const Signature& theirs) {
  const Signature& ours = run.operation().signature;
  const bool opposite =
      (ours.kind == OperationKind::kSend) == (theirs.kind == OperationKind::kReceive);
  if (opposite && ours.scalar_type == theirs.scalar_type && ours.numel == theirs.numel) return;
  throw Mismatch(run.description() + ": rank " + std::to_string(rank) + " called " +
                 ours.description() + ", rank " + std::to_string(run.operation().peer) +
                 " called " + theirs.description() +
                 "; sender and receiver must give the same dtype and number of elements");
}

}  // namespace muster::internal
