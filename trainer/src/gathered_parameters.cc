// Units that come and go.
#include "gathered_parameters.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

GatheredParameters::GatheredParameters(const std::vector<NamedTensor>& parameters,
                                       const FlatLayout& layout, const ShardLayout& shard,
                                       Communicator& communicator, std::size_t prefetch)
    : WindowedParameters(layout, shard, communicator, parameters.front().tensor.scalar_type()),
      parameters_(parameters),
      memory_(std::make_shared<UnitMemory>(layout.units, dtype())),
      whole_(at::from_blob(
          memory_->data(), {memory_->numel()}, [memory = memory_](void*) {},
          at::TensorOptions(dtype()))),
      residency_(prefetch),
      watched_({memory_, memory_->data()}, memory_->numel(), dtype(), *this) {
  check_parameter_access();
  take_values(parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    watched_.take_place_of(
        parameters[i].tensor,
        memory_->place_of(layout.unit_of[layout.bucket_of[i]], layout.parameters[i].begin));
  }
  communicator.barrier().wait();
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
  drop_all();  // the caller may write
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

std::vector<std::size_t> GatheredParameters::units_of(const Access& access) const {
  std::vector<std::size_t> units;
  for (const FlatRange& range : access.reads) {
    const std::size_t last = memory_->unit_at(range.end - 1);
    for (std::size_t unit = memory_->unit_at(range.begin); unit <= last; ++unit) {
      if (std::find(units.begin(), units.end(), unit) == units.end()) units.push_back(unit);
    }
  }
  return units;
}

void GatheredParameters::before(const Access& access) {
  if (!access.writes.empty()) refuse_write(access);
  if (updating_) {
    throw UserError(access.operation +
                    ": expected parameters to be left alone while they are updated, found one "
                    "read; do it before finish_step(), or after");
  }
  if (holds_ > 0) return;
  const std::vector<std::size_t> units = units_of(access);
  change(residency_.need(units));
  for (const std::size_t unit : units) wait_for(unit);
}

void GatheredParameters::refuse_write(const Access& access) const {
  const std::int64_t place = access.writes.front().begin;
  const std::int64_t begin = memory_->flat_of(memory_->unit_at(place), place);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (begin < layout_.parameters[i].begin || begin >= layout_.parameters[i].end) continue;
    throw UserError(access.operation + ": expected parameter '" + parameters_[i].name +
                    "' to be changed by the optimizer alone, since at ZeRO stage 3 its values are "
                    "sharded over ranks, found a write in place; do it before the Engine is made, "
                    "or use stage 2");
  }
  throw InternalError(access.operation + ": a write to parameters that are none");
}

void GatheredParameters::change(const ResidencyChange& change) {
  for (const std::size_t unit : change.drop) drop(unit);
  for (const std::size_t unit : change.fetch) fetch(unit);
}

// The own piece comes from the shard, like the others' from theirs.
void GatheredParameters::fetch(std::size_t unit) {
  const Unit& place = layout_.units[unit];
  memory_->open(unit);
  std::vector<Work>& reads = reads_[unit];
  const int ranks = communicator_.world_size();
  for (std::size_t b = place.first_bucket; b < place.end_bucket; ++b) {
    const FlatRange range = layout_.buckets[b].range;
    const at::Tensor bucket = whole_.narrow(0, memory_->place_of(unit, range.begin), range.numel());
    for (int i = 0; i < ranks; ++i) {
      const int r = (communicator_.rank() + i) % ranks;  // not all the same one at a time
      reads.push_back(read_piece(r, b, bucket));
    }
  }
}

void GatheredParameters::wait_for(std::size_t unit) {
  const auto reads = reads_.find(unit);
  if (reads == reads_.end()) return;
  for (Work& read : reads->second) read.wait();
  reads_.erase(reads);
}

void GatheredParameters::drop(std::size_t unit) {
  wait_for(unit);
  memory_->close(unit);
}

void GatheredParameters::drop_all() {
  for (const std::size_t unit : residency_.clear()) drop(unit);
}

void GatheredParameters::hold_all_units() {
  std::vector<std::size_t> all(layout_.units.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  change(residency_.need(all));
  for (const std::size_t unit : all) wait_for(unit);
}

void GatheredParameters::hold_all() {
  if (holds_++ == 0) hold_all_units();
}

void GatheredParameters::release_all() {
  if (--holds_ == 0) drop_all();
}

}  // namespace muster::internal
