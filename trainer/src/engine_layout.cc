// Layouts for an engine.
#include "engine_layout.h"

#include <algorithm>
#include <string>

#include "muster/base/error.h"
#include "unit_plan.h"

namespace muster::internal {

ParameterForm parameter_form(const Communicator& communicator, const EngineOptions& options,
                             at::Device device) {
  if (options.zero_stage < 3) return ParameterForm::kReplicated;
  if (!device.is_cpu()) {
    if (!options.replicate_between_nodes) return ParameterForm::kGathered;
    throw ConfigError(
        "replicate between nodes: expected a model on the CPU, whose ranks share memory, found one "
        "on a GPU; leave --replicate-between-nodes away, or take --zero-stage 2");
  }
  const auto with_memory = static_cast<int>(communicator.ranks_sharing_memory().size());
  if (with_memory == communicator.world_size()) return ParameterForm::kShared;
  return options.replicate_between_nodes ? ParameterForm::kNode : ParameterForm::kGathered;
}

bool keeps_masters(const EngineOptions& options, at::Device device) {
  const bool in_windows = options.zero_stage == 3 && !device.is_cpu();
  return options.precision == Precision::kBFloat16 || options.offload_optimizer || in_windows;
}

FlatLayout make_layout(const std::vector<NamedTensor>& trainable, const EngineOptions& options,
                       int world_size, ParameterForm form) {
  std::vector<std::string> names(trainable.size());  // without names: one unit
  if (form == ParameterForm::kGathered) {
    std::transform(trainable.begin(), trainable.end(), names.begin(),
                   [](const NamedTensor& parameter) { return parameter.name; });
  }
  return make_flat_layout(checked_numels(trainable), plan_units(names), options.bucket_mib << 20,
                          world_size);
}

ShardLayout make_shard(const FlatLayout& layout, const EngineOptions& options, int rank,
                       int world_size) {
  return options.zero_stage == 0 ? make_shard_layout(layout, 0, 1)
                                 : make_shard_layout(layout, rank, world_size);
}

}  // namespace muster::internal
