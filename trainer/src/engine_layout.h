// What a module's parameters and an engine's options make of the flat space.
#ifndef MUSTER_TRAINER_SRC_ENGINE_LAYOUT_H_
#define MUSTER_TRAINER_SRC_ENGINE_LAYOUT_H_

#include <vector>

#include "flat_layout.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine_options.h"

namespace muster::internal {

/// Whether stage 3 gathers parameters while a step runs.
bool gathers_parameters(const Communicator& communicator, const EngineOptions& options);

/// In one unit, or in those of plan_units(). Throws ConfigError for a parameter that cannot be
/// trained.
FlatLayout make_layout(const std::vector<NamedTensor>& trainable, const EngineOptions& options,
                       int world_size, bool in_units = false);

/// The part of `rank`; at stage 0 all.
ShardLayout make_shard(const FlatLayout& layout, const EngineOptions& options, int rank,
                       int world_size);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ENGINE_LAYOUT_H_
