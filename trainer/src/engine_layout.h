// What a module's parameters and an engine's options make of the flat space.
#ifndef MUSTER_TRAINER_SRC_ENGINE_LAYOUT_H_
#define MUSTER_TRAINER_SRC_ENGINE_LAYOUT_H_

#include <vector>

#include "flat_layout.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine_options.h"

namespace muster::internal {

/// How ranks have parameters while passes run.
enum class ParameterForm {
  kReplicated,  ///< Stages 0 to 2: all on each rank.
  kMirrored,    ///< The same, where ranks write into each other's: stages 1 and 2 in one memory.
  kShared,      ///< Stage 3 where all ranks share memory: one copy.
  kNode,        ///< Stage 3 between nodes, replicated between them: one copy a node.
  kGathered     ///< Stage 3 between nodes and on GPUs: units, while they are needed.
};
/// Throws ConfigError where there is no such form for a model on `device`.
ParameterForm parameter_form(const Communicator& communicator, const EngineOptions& options,
                             at::Device device);

/// Whether float32 weights are kept beside the parameters: those are rounded, or not where the
/// optimizer updates them.
bool keeps_masters(const EngineOptions& options, at::Device device);

/// In one unit; gathered parameters in those of plan_units(). Throws ConfigError for a parameter
/// that cannot be trained, and for units that there are not.
FlatLayout make_layout(const std::vector<NamedTensor>& trainable, const EngineOptions& options,
                       int world_size, ParameterForm form);

/// The part of `rank`; at stage 0 all.
ShardLayout make_shard(const FlatLayout& layout, const EngineOptions& options, int rank,
                       int world_size);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ENGINE_LAYOUT_H_
