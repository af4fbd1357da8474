// Which parameters are gathered together: pure.
#ifndef MUSTER_TRAINER_SRC_UNIT_PLAN_H_
#define MUSTER_TRAINER_SRC_UNIT_PLAN_H_

#include <cstddef>
#include <string>
#include <vector>

namespace muster::internal {

/// Each block of a repeated kind is a unit: parameters whose names agree up to and with the first
/// number in them ("blocks.3.norm.weight" is of "blocks.3"). All others together are one more.
/// Units are in the order of their first parameters; each lists parameters by index.
std::vector<std::vector<std::size_t>> plan_units(const std::vector<std::string>& names);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_UNIT_PLAN_H_
