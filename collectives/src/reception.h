// Where a process that comes in the place of a lost rank finds the others of its node.
#ifndef MUSTER_COLLECTIVES_SRC_RECEPTION_H_
#define MUSTER_COLLECTIVES_SRC_RECEPTION_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "muster/base/node_memory.h"
#include "symmetric_memory.h"

namespace muster::internal {

/// Between two looks at who has come and who is left, where nothing is heard.
inline constexpr std::int64_t kLookUs = 2000;

/// A generation of a group, as one of its ranks sees it.
struct Members {
  NodeGroup group;
  /// Element r: which rank of the generation before is rank r; -1: a process that came in its
  /// place.
  std::vector<int> previous_ranks;
  int rank = -1;  ///< This process's; -1 when it is no member.
};

/// Writes the members down in the node memory and returns where: what read_charter() takes.
std::uint64_t write_charter(const Members& members);
Members read_charter(const std::shared_ptr<NodeMemory>& memory, std::uint64_t charter,
                     int own_slot);

/// One for each node memory; any number of objects that look at it.
class Reception {
 public:
  explicit Reception(NodeMemory& memory);
  ~Reception();
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;

  /// A process in `slot` is there for `rank`. Throws ConfigError when another one is.
  void come(int rank, int slot);
  /// The slot of the latest process that came for `rank`; -1: nobody did.
  int candidate(int rank) const;

  /// The group of the whole node has this charter now. Whoever learns of it says so; a late word
  /// does not replace a newer one.
  void publish(std::uint64_t charter);
  /// Waits until the latest charter has `slot`. Throws Timeout, and PeerLost when the launcher ends
  /// the generation.
  static Members wait_for_admission(const std::shared_ptr<NodeMemory>& memory, int rank, int slot,
                                    std::chrono::milliseconds timeout);

 private:
  struct Desk {
    std::atomic<std::uint64_t> charter;  // the latest; they lie in the order of their making
    std::atomic<std::uint32_t> news;     // futex word
    std::atomic<std::int32_t> candidates[kMaxLocalRanks];  // by rank: slot + 1
  };

  NodeMemory& memory_;
  Desk* desk_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_RECEPTION_H_
