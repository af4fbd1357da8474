// Layouts for an engine.
#include "engine_layout.h"

#include <numeric>
#include <string>

#include "muster/base/error.h"
#include "unit_plan.h"

namespace muster::internal {

ParameterForm parameter_form(const Communicator& communicator, const EngineOptions& options,
                             at::Device device) {
  const auto with_memory = static_cast<int>(communicator.ranks_sharing_memory().size());
  const bool in_one_memory = with_memory == communicator.world_size();
  if (options.zero_stage < 3) {
    const bool mirrored = options.zero_stage > 0 && device.is_cpu() && in_one_memory;
    return mirrored && with_memory > 1 ? ParameterForm::kMirrored : ParameterForm::kReplicated;
  }
  if (!device.is_cpu()) {
    if (!options.replicate_between_nodes) return ParameterForm::kGathered;
    throw ConfigError(
        "replicate between nodes: expected a model on the CPU, whose ranks share memory, found one "
        "on a GPU; leave --replicate-between-nodes away, or take --zero-stage 2");
  }
  if (in_one_memory) return ParameterForm::kShared;
  return options.replicate_between_nodes ? ParameterForm::kNode : ParameterForm::kGathered;
}

bool keeps_masters(const EngineOptions& options, at::Device device) {
  const bool in_windows = options.zero_stage == 3 && !device.is_cpu();
  return options.precision == Precision::kBFloat16 || options.offload_optimizer || in_windows;
}

FlatLayout make_layout(const std::vector<NamedTensor>& trainable, const EngineOptions& options,
                       int world_size, ParameterForm form) {
  const std::vector<std::int64_t> numels = checked_numels(trainable);
  std::vector<std::string> names;
  for (const NamedTensor& parameter : trainable) names.push_back(parameter.name);
  std::vector<std::vector<std::size_t>> units = plan_units(names, options.units);
  if (form != ParameterForm::kGathered) {
    units.assign(1, std::vector<std::size_t>(names.size()));
    std::iota(units.front().begin(), units.front().end(), std::size_t{0});
  }
  return make_flat_layout(numels, units, options.bucket_mib << 20, world_size);
}

ShardLayout make_shard(const FlatLayout& layout, const EngineOptions& options, int rank,
                       int world_size) {
  return options.zero_stage == 0 ? make_shard_layout(layout, 0, 1)
                                 : make_shard_layout(layout, rank, world_size);
}

}  // namespace muster::internal
