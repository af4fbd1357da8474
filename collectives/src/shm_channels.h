// Transfers between two ranks of a node, through a pair of shared slots for each direction.
#ifndef MUSTER_COLLECTIVES_SRC_SHM_CHANNELS_H_
#define MUSTER_COLLECTIVES_SRC_SHM_CHANNELS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "rendezvous.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// A channel from every rank of a group to every other. The sender fills one slot while the
/// receiver empties the other.
class ShmChannels {
 public:
  ShmChannels(SymmetricMemory& memory, Rendezvous& rendezvous, int rank);

  std::unique_ptr<Transfer> start(const OperationRun& run);

 private:
  static constexpr std::int64_t kSlotBytes = 128 * 1024;

  // The counts run on from transfer to transfer; each has one writer.
  struct Channel {
    Signature signature;                               // the sender's, of its latest transfer
    Signature refusal;                                 // the receiver's call, where it did not fit
    alignas(64) std::atomic<std::uint64_t> announced;  // transfers, by the sender
    std::atomic<std::uint64_t> filled;                 // slots
    alignas(64) std::atomic<std::uint64_t> emptied;    // slots, by the receiver
    std::atomic<std::uint64_t> ended;                  // transfers
    std::atomic<std::uint32_t> refused;
    alignas(4096) std::byte slots[2][kSlotBytes];
  };

  class Side;
  class Send;
  class Receive;

  Channel& channel(int from, int to) {
    return reinterpret_cast<Channel*>(channels_[static_cast<std::size_t>(from)])[to];
  }

  Rendezvous& rendezvous_;
  int rank_;
  std::vector<std::byte*> channels_;  // by sender: a Channel to each rank
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SHM_CHANNELS_H_
