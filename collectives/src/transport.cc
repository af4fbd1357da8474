// What all transports share: messages and ordinary memory.
#include "transport.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "muster/base/error.h"

namespace muster::internal {

const char* const kRestartAdvice =
    "the job cannot go on in this generation: restart it from its last checkpoint (muster run "
    "--max-restarts does so)";

std::string OperationRun::description() const {
  return operation_.signature.description() + ", operation " + std::to_string(sequence_);
}

void OperationRun::check_wanted() const {
  if (!abandoned()) return;
  throw InternalError(description() +
                      ": abandoned, since its communicator was destroyed before anybody waited for "
                      "it; wait for all work first");
}

std::shared_ptr<std::byte> allocate_zeroed(std::int64_t bytes) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t rounded =
      (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, rounded);
  return {static_cast<std::byte*>(memory), [](std::byte* bytes_) { std::free(bytes_); }};
}

void check_same_operation(const OperationRun& run, const Signature& ours, int our_rank,
                          const Signature& theirs, int their_rank) {
  if (theirs == ours) return;
  if (theirs.kind == OperationKind::kLeave) {
    throw PeerLost(run.description() + ": rank " + std::to_string(their_rank) + " left; " +
                   kRestartAdvice);
  }
  throw Mismatch("operation " + std::to_string(run.sequence()) + ": rank " +
                 std::to_string(our_rank) + " called " + ours.description() + ", rank " +
                 std::to_string(their_rank) + " called " + theirs.description() +
                 "; every rank must make the same calls in the same order, with the same dtype and "
                 "number of elements");
}

}  // namespace muster::internal
