// Sums over what an engine allocates, by the functions that say how much it does.
#include "muster/trainer/memory_plan.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "engine_layout.h"
#include "gradient_buffers.h"
#include "module_tensors.h"
#include "rule_parameters.h"
#include "update_rule.h"

namespace muster {
namespace {

using internal::FlatLayout;
using internal::ModuleTensors;
using internal::NamedTensor;
using internal::ShardLayout;

constexpr std::int64_t kFloatBytes = 4;

std::int64_t bytes_of_fixed(const ModuleTensors& tensors, Precision precision) {
  const auto bytes_of = [&](const at::Tensor& tensor) {
    const bool lowered = precision == Precision::kBFloat16 && tensor.is_floating_point();
    return tensor.numel() * (lowered ? 2 : static_cast<std::int64_t>(tensor.element_size()));
  };
  std::int64_t bytes = 0;
  for (const NamedTensor& frozen : tensors.frozen) bytes += bytes_of(frozen.tensor);
  // A step begins from a copy, and logical rank 0's result is another.
  for (const auto& [name, buffer] : tensors.buffers) bytes += 3 * bytes_of(buffer);
  return bytes;
}

std::int64_t optimizer_bytes(const ModuleTensors& tensors, const EngineOptions& options,
                             const FlatLayout& layout, const ShardLayout& shard) {
  const auto rule = internal::make_update_rule(
      options.optimizer, internal::make_rule_parameters(options, tensors.trainable, layout));
  const auto copies =
      static_cast<std::int64_t>(rule->flat_state().size()) + (options.ema_decay > 0 ? 1 : 0);
  const bool masters = internal::keeps_masters(options, tensors.trainable.front().tensor.device());
  const std::int64_t more = (masters ? 1 : 0) + (options.offload_optimizer ? 1 : 0);  // gradients
  std::int64_t bytes = (copies + more) * shard.numel * kFloatBytes;
  for (const internal::WholeState& state : rule->whole_state())
    bytes += static_cast<std::int64_t>(state.tensor.nbytes());
  return bytes;
}

/// Of the largest units, as many as are held at once.
std::int64_t held_units_numel(const FlatLayout& layout, std::int64_t prefetch_units) {
  std::vector<std::int64_t> numels;
  for (const internal::Unit& unit : layout.units) numels.push_back(unit.range.numel());
  std::sort(numels.rbegin(), numels.rend());
  const std::size_t most = std::min(numels.size(), static_cast<std::size_t>(prefetch_units + 2));
  return std::accumulate(numels.begin(), numels.begin() + static_cast<std::ptrdiff_t>(most),
                         std::int64_t{0});
}

}  // namespace

MemoryUse plan_memory(torch::nn::Module& module, const EngineOptions& options, int world_size) {
  const ModuleTensors tensors = internal::collect_tensors(module);
  const FlatLayout layout = internal::make_layout(tensors.trainable, options, world_size,
                                                  internal::ParameterForm::kShared);
  const ShardLayout shard = internal::make_shard(layout, options, /*rank=*/0, world_size);
  const internal::GradientSetup setup{
      options.zero_stage, options.logical_ranks, {}, options.accumulation_steps, options.reduction};
  MemoryUse use;
  const std::int64_t element_bytes = options.precision == Precision::kBFloat16 ? 2 : kFloatBytes;
  use.parameters = (options.zero_stage == 3 ? shard.numel : layout.numel) * element_bytes +
                   bytes_of_fixed(tensors, options.precision);
  use.gradients = internal::held_gradient_numel(layout, shard, setup, world_size) * kFloatBytes;
  use.optimizer = optimizer_bytes(tensors, options, layout, shard);
  const bool on_gpu = !tensors.trainable.front().tensor.device().is_cpu();
  if (options.zero_stage == 3 && (world_size > 1 || on_gpu)) {
    const FlatLayout gathered = internal::make_layout(tensors.trainable, options, world_size,
                                                      internal::ParameterForm::kGathered);
    use.blocks = held_units_numel(gathered, options.prefetch_units) * element_bytes;
  }
  return use;
}

}  // namespace muster
