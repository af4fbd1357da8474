// Units that come and go.
#include "gathered_parameters.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

GatheredParameters::GatheredParameters(const std::vector<NamedTensor>& parameters,
                                       const FlatLayout& layout, const ShardLayout& shard,
                                       Communicator& host, std::size_t prefetch)
    : WindowedParameters(layout, shard, host, parameters.front().tensor.scalar_type()),
      parameters_(parameters),
      options_(at::TensorOptions(dtype()).device(parameters.front().tensor.device())),
      residency_(prefetch) {
  check_parameter_access();
  take_values(parameters);
  AccessListener& listener = *this;
  for (std::size_t u = 0; u < layout.units.size(); ++u)
    units_.emplace_back(u, layout.units[u].range.numel(), options_, listener);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::size_t unit = layout.unit_of[layout.bucket_of[i]];
    units_[unit].take_place_of(parameters[i].tensor,
                               layout.parameters[i].begin - layout.units[unit].range.begin);
  }
  communicator_.barrier().wait();
}

GatheredParameters::~GatheredParameters() {
  if (unwinding()) return;
  try {
    drop_all();
  } catch (const std::exception&) {
    // A rank that is lost has been told of where it was needed.
  }
}

HeldRange GatheredParameters::held(std::size_t parameter) {
  if (holds_ == 0) drop_all();  // the caller may write
  return WindowedParameters::held(parameter);
}

void GatheredParameters::begin_pass() { residency_.begin_pass(); }

void GatheredParameters::begin_update() {
  drop_all();
  updating_ = true;
  communicator_.barrier().wait();
}

void GatheredParameters::finish_update() {
  communicator_.barrier().wait();
  updating_ = false;
  if (holds_ > 0) hold_all_units();
}

void GatheredParameters::before(const Access& access) {
  if (!access.writes.empty()) refuse_write(access);
  if (updating_) {
    throw UserError(access.operation +
                    ": expected parameters to be left alone while they are updated, found one "
                    "read; do it before finish_step(), or after");
  }
  if (holds_ > 0) return;
  std::vector<std::size_t> units;
  for (const WatchedRange& range : access.reads) {
    if (std::find(units.begin(), units.end(), range.memory) == units.end())
      units.push_back(range.memory);
  }
  hold(units);
}

void GatheredParameters::refuse_write(const Access& access) const {
  const WatchedRange& written = access.writes.front();
  const std::int64_t begin = layout_.units[written.memory].range.begin + written.elements.begin;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (begin < layout_.parameters[i].begin || begin >= layout_.parameters[i].end) continue;
    throw UserError(access.operation + ": expected parameter '" + parameters_[i].name +
                    "' to be changed by the optimizer alone, since at ZeRO stage 3 its values are "
                    "sharded over ranks, found a write in place; do it before the Engine is made, "
                    "or use stage 2");
  }
  throw InternalError(access.operation + ": a write to parameters that are none");
}

void GatheredParameters::hold(const std::vector<std::size_t>& units) {
  const ResidencyChange change = residency_.need(units);
  for (const std::size_t unit : change.drop) drop(unit);
  for (const std::size_t unit : change.fetch) fetch(unit);
  for (const std::size_t unit : units) wait_for(unit);
}

// The own piece comes from the shard, like the others' from theirs.
void GatheredParameters::fetch(std::size_t unit) {
  const Unit& place = layout_.units[unit];
  // A GPU copies from pinned memory beside other work, and not from any other.
  const bool to_gpu = !options_.device().is_cpu();
  Fetch& fetch = fetches_[unit];
  fetch.values = at::empty({place.range.numel()}, options_.device(at::kCPU).pinned_memory(to_gpu));
  const int ranks = communicator_.world_size();
  for (std::size_t b = place.first_bucket; b < place.end_bucket; ++b) {
    const FlatRange range = layout_.buckets[b].range;
    const at::Tensor bucket =
        fetch.values.narrow(0, range.begin - place.range.begin, range.numel());
    for (int i = 0; i < ranks; ++i) {
      const int r = (communicator_.rank() + i) % ranks;  // not all the same one at a time
      fetch.reads.push_back(read_piece(r, b, bucket));
    }
  }
}

void GatheredParameters::Fetch::wait() {
  for (Work& read : reads) read.wait();
}

void GatheredParameters::wait_for(std::size_t unit) {
  const auto found = fetches_.find(unit);
  if (found == fetches_.end()) return;
  found->second.wait();
  units_[unit].set_values(found->second.values.to(options_, /*non_blocking=*/true));
  fetches_.erase(found);
}

void GatheredParameters::drop(std::size_t unit) {
  const auto found = fetches_.find(unit);
  if (found != fetches_.end()) {
    found->second.wait();
    fetches_.erase(found);
  }
  units_[unit].set_values({});
}

void GatheredParameters::drop_all() {
  for (const std::size_t unit : residency_.clear()) drop(unit);
}

void GatheredParameters::hold_all_units() {
  std::vector<std::size_t> all(layout_.units.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  hold(all);
}

void GatheredParameters::hold_all() {
  if (holds_++ == 0) hold_all_units();
}

void GatheredParameters::release_all() {
  if (--holds_ == 0) drop_all();
}

}  // namespace muster::internal
