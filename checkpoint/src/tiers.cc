// The order of tiers.
#include "muster/checkpoint/tiers.h"

#include <algorithm>
#include <tuple>

namespace muster::checkpoint {

std::string tier_name(Tier tier) {
  switch (tier) {
    case Tier::kMemory:
      return "memory";
    case Tier::kDisk:
      return "disk";
    case Tier::kStore:
      return "store";
  }
  return "unknown";
}

std::vector<TierState> restore_order(std::vector<TierState> states) {
  const auto key = [](const TierState& state) {
    return std::make_tuple(-state.step, state.tier, -state.generation, state.world_size);
  };
  std::sort(states.begin(), states.end(),
            [&](const TierState& a, const TierState& b) { return key(a) < key(b); });
  return states;
}

}  // namespace muster::checkpoint
