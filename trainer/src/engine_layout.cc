// Layouts for an engine.
#include "engine_layout.h"

#include <cstddef>
#include <numeric>

namespace muster::internal {

FlatLayout make_layout(const std::vector<NamedTensor>& trainable, const EngineOptions& options,
                       int world_size) {
  std::vector<std::size_t> one_unit(trainable.size());  // bits never depend on units
  std::iota(one_unit.begin(), one_unit.end(), std::size_t{0});
  return make_flat_layout(checked_numels(trainable), {one_unit}, options.bucket_mib << 20,
                          world_size);
}

ShardLayout make_shard(const FlatLayout& layout, const EngineOptions& options, int rank,
                       int world_size) {
  return options.zero_stage == 0 ? make_shard_layout(layout, 0, 1)
                                 : make_shard_layout(layout, rank, world_size);
}

}  // namespace muster::internal
