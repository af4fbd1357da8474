// Which parameters are gathered together: pure.
#ifndef MUSTER_TRAINER_SRC_UNIT_PLAN_H_
#define MUSTER_TRAINER_SRC_UNIT_PLAN_H_

#include <cstddef>
#include <string>
#include <vector>

namespace muster::internal {

/// Parameters by index, unit by unit in the order of their first ones. `patterns` is what
/// EngineOptions::units is; without any, parameters whose names agree up to and with the first
/// number in them are a unit ("blocks.3.norm.weight" is of "blocks.3"). Throws ConfigError for a
/// pattern that means no module.
std::vector<std::vector<std::size_t>> plan_units(const std::vector<std::string>& names,
                                                 const std::vector<std::string>& patterns = {});

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_UNIT_PLAN_H_
