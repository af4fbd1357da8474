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
    throw ConfigError(
        "ZeRO stage: expected 0 to 2 for a model on a GPU, found 3; take 2, with --offload "
        "optimizer where memory is short");
  }
  const auto with_memory = static_cast<int>(communicator.ranks_sharing_memory().size());
  if (with_memory == communicator.world_size()) return ParameterForm::kShared;
  return options.replicate_between_nodes ? ParameterForm::kNode : ParameterForm::kGathered;
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
