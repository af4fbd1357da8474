// Flags and version counters, compared with those before.
#include "parameter_watch.h"

#include <string>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

std::uint32_t version_of(const NamedTensor& parameter) {
  return parameter.tensor.unsafeGetTensorImpl()->version_counter().current_version();
}

}  // namespace

ParameterWatch::ParameterWatch(const std::vector<NamedTensor>& trainable,
                               const std::vector<NamedTensor>& frozen, OwnerWrites allowed)
    : trainable_(trainable), frozen_(frozen), allowed_(allowed) {
  for (const NamedTensor& parameter : trainable_) places_.push_back(place_of(parameter));
  remember_versions();
}

void ParameterWatch::begin_step() {
  for (const auto& [name, tensor] : trainable_) {
    if (tensor.requires_grad()) continue;
    throw UserError("parameter '" + name +
                    "': expected it to require a gradient, as when the Engine was made, found it "
                    "frozen; the optimizer would go on moving it: freeze it in build_model(), or "
                    "go on with a new Engine");
  }
  for (const auto& [name, tensor] : frozen_) {
    if (!tensor.requires_grad()) continue;
    throw UserError("parameter '" + name +
                    "': expected it to be frozen, as when the Engine was made, found that it "
                    "requires a gradient; nothing would train it: go on with a new Engine");
  }
  check_in_place();
  if (allowed_ == OwnerWrites::kNever) check_unwritten("between steps");
  remember_versions();
}

void ParameterWatch::end_passes() const {
  check_in_place();
  check_unwritten("during a step");
}

ParameterWatch::Place ParameterWatch::place_of(const NamedTensor& parameter) {
  return {parameter.tensor.storage().unsafeGetStorageImpl(), parameter.tensor.storage_offset()};
}

// Such values count no version: Tensor::set_data() leaves the counter as it is.
void ParameterWatch::check_in_place() const {
  for (std::size_t i = 0; i < trainable_.size(); ++i) {
    if (place_of(trainable_[i]) == places_[i]) continue;
    throw UserError("parameter '" + trainable_[i].name +
                    "': expected the values that the optimizer updates, found others in their "
                    "place, as Tensor::set_data(), torch::load() and Module::to() put them there; "
                    "do that before the Engine is made, or go on with a new Engine");
  }
}

void ParameterWatch::check_unwritten(const char* when) const {
  if (allowed_ == OwnerWrites::kHeardElsewhere) return;
  for (std::size_t i = 0; i < trainable_.size(); ++i) {
    if (version_of(trainable_[i]) == versions_[i]) continue;
    throw UserError("parameter '" + trainable_[i].name +
                    "': expected it to be changed by the optimizer alone, found a write in place " +
                    when +
                    (allowed_ == OwnerWrites::kBetweenSteps
                         ? "; write between steps, on every rank alike"
                         : "; it is shared between ranks, or a copy of what the optimizer "
                           "updates: write into Engine::state(), or before the Engine is made"));
  }
}

void ParameterWatch::remember_versions() {
  versions_.clear();
  for (const NamedTensor& parameter : trainable_) versions_.push_back(version_of(parameter));
}

}  // namespace muster::internal
