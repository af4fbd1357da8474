// Where the state of a run may lie, and which of it a restore takes.
#ifndef MUSTER_CHECKPOINT_TIERS_H_
#define MUSTER_CHECKPOINT_TIERS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace muster::checkpoint {

enum class Tier {
  kMemory = 1,  ///< A snapshot that the launcher holds.
  kDisk = 2,
  kStore = 3,  ///< An object store.
};

/// "memory", "disk", "store".
std::string tier_name(Tier tier);

/// A state that is complete as far as can be told without reading all of it.
struct TierState {
  Tier tier = Tier::kDisk;
  std::int64_t step = 0;
  int generation = 0;  ///< With kMemory: several worlds may have left a snapshot of one step.
  int world_size = 0;  ///< With kMemory.

  bool operator==(const TierState&) const = default;
};

/// The order in which a restore tries `states`: the newest step first; of one step the nearest
/// tier, then the newest generation. The first that proves intact is taken. Pure.
std::vector<TierState> restore_order(std::vector<TierState> states);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_TIERS_H_
