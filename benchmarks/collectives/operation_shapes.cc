// The table, and the results in terms of patterns.
#include "operation_shapes.h"

#include "muster/base/error.h"
#include "muster/base/options.h"

namespace muster::bench {
namespace {

using Ranges = std::vector<ExpectedRange>;

// --- Bus factors.

double once(int) { return 1; }
// All but a rank's own share crosses the bus.
double all_but_own(int world_size) { return static_cast<double>(world_size - 1) / world_size; }
// Once to be reduced, once to come back.
double there_and_back(int world_size) { return 2 * all_but_own(world_size); }

// --- Results.

Ranges nothing(const Viewpoint&) { return {}; }

Ranges combined(const Viewpoint& view) {
  return {{0, view.whole_numel, combined_pattern(view.reduction, view.world_size), 0}};
}

Ranges combined_at_root(const Viewpoint& view) {
  return view.rank == kRoot ? combined(view) : Ranges{};
}

Ranges own_share_combined(const Viewpoint& view) {
  const std::int64_t numel = view.share_numel();
  return {{0, numel, combined_pattern(view.reduction, view.world_size), view.rank * numel}};
}

Ranges all_inputs(const Viewpoint& view) {
  const std::int64_t numel = view.share_numel();
  Ranges ranges;
  for (int r = 0; r < view.world_size; ++r) ranges.push_back({r * numel, numel, rank_pattern(r)});
  return ranges;
}

Ranges all_inputs_at_root(const Viewpoint& view) {
  return view.rank == kRoot ? all_inputs(view) : Ranges{};
}

Ranges own_share_of_all(const Viewpoint& view) {
  Ranges ranges = all_inputs(view);
  for (ExpectedRange& range : ranges) range.phase = view.rank * view.share_numel();
  return ranges;
}

Ranges input_of_root(const Viewpoint& view) { return {{0, view.whole_numel, rank_pattern(kRoot)}}; }

Ranges own_share_of_root(const Viewpoint& view) {
  const std::int64_t numel = view.share_numel();
  return {{0, numel, rank_pattern(kRoot), view.rank * numel}};
}

Ranges input_of_previous(const Viewpoint& view) {
  const int previous = (view.rank + view.world_size - 1) % view.world_size;
  return {{0, view.whole_numel, rank_pattern(previous)}};
}

}  // namespace

const std::vector<OperationShape>& operation_shapes() {
  using enum Extent;
  static const std::vector<OperationShape> shapes = {
      {"all_reduce", true, kWhole, kWhole, there_and_back, combined},
      {"canonical_all_reduce", true, kWhole, kWhole, there_and_back, combined},
      {"reduce", true, kWhole, kWhole, once, combined_at_root},
      {"reduce_scatter", true, kWhole, kShare, all_but_own, own_share_combined},
      {"canonical_reduce_scatter", true, kWhole, kShare, all_but_own, own_share_combined},
      {"all_gather", false, kShare, kWhole, all_but_own, all_inputs},
      {"broadcast", false, kWhole, kWhole, once, input_of_root},
      {"scatter", false, kWhole, kShare, all_but_own, own_share_of_root},
      {"gather", false, kShare, kWhole, all_but_own, all_inputs_at_root},
      {"all_to_all", false, kWhole, kWhole, all_but_own, own_share_of_all},
      {"send_recv", false, kWhole, kWhole, once, input_of_previous},
      {"barrier", false, kNone, kNone, once, nothing},
  };
  return shapes;
}

const OperationShape& operation_shape(const std::string& name) {
  std::vector<std::string> names;
  for (const OperationShape& shape : operation_shapes()) {
    if (shape.name == name) return shape;
    names.push_back(shape.name);
  }
  const std::string nearest = nearest_name(name, names);
  throw ConfigError("--operations: expected names of operations, found '" + name + "'" +
                    (nearest.empty() ? "; see --help" : "; did you mean " + nearest + "?"));
}

}  // namespace muster::bench
