// Matching names, then reading ranges.
#include "initial_weights.h"

#include <algorithm>

#include "checkpoint_ranges.h"
#include "muster/base/error.h"
#include "muster/checkpoint/elements.h"
#include "muster/checkpoint/export.h"
#include "muster/checkpoint/model_weights.h"
#include "muster/trainer/parameter_groups.h"
#include "run_together.h"
#include "text_exchange.h"

namespace muster::internal {
namespace {

using checkpoint::TensorRange;

bool is_allowed(const std::string& name, const std::string& patterns) {
  const std::vector<std::string> split = split_patterns(patterns);
  return std::any_of(split.begin(), split.end(),
                     [&](const std::string& pattern) { return matches_pattern(pattern, name); });
}

bool fits(const TensorRange& model, const TensorRange& found) {
  return model.shape == found.shape &&
         (model.dtype == found.dtype ||
          (checkpoint::is_float(model.dtype) && checkpoint::is_float(found.dtype)));
}

/// The engine's tensor under the model's name, and where this rank holds it; nothing for what is
/// not the model's.
std::map<std::string, checkpoint::SourceRange> model_tensors(const HostState& state) {
  const std::string prefix = checkpoint::kModelPrefix;
  std::map<std::string, checkpoint::SourceRange> tensors;
  for (const StateTensor& tensor : state.tensors()) {
    if (!tensor.name.starts_with(prefix)) continue;
    checkpoint::SourceRange held = held_range(tensor);
    held.range.name = tensor.name.substr(prefix.size());
    tensors.emplace(held.range.name, std::move(held));
  }
  return tensors;
}

}  // namespace

std::vector<std::string> misfits(const NamedTensors& model, const NamedTensors& found,
                                 const std::string& allowed) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& name, const std::string& line) {
    if (!is_allowed(name, allowed)) lines.push_back(line);
  };
  for (const auto& [name, range] : model) {
    const auto other = found.find(name);
    if (other == found.end()) {
      add(name, "expected " + describe(range) + ", found none");
    } else if (!fits(range, other->second)) {
      add(name, "expected " + describe(range) + ", found " + describe(other->second));
    }
  }
  for (const auto& [name, range] : found) {
    if (!model.contains(name)) add(name, "expected no " + name + ", found " + describe(range));
  }
  return lines;
}

std::string find_initial_weights(Communicator& communicator, const std::string& path, Env& env) {
  std::string found;
  run_together(communicator, [&] {
    if (communicator.rank() == 0) found = checkpoint::ModelWeights::find(path, env);
  });
  return broadcast_text(communicator, found);
}

void load_initial_weights(Engine& engine, const std::string& path, const std::string& allowed,
                          Env& env) {
  const auto weights = checkpoint::ModelWeights::open(path, env);
  const HostState state(engine.state(), HostState::Contents::kValues);  // what is missing stays
  const auto tensors = model_tensors(state);
  NamedTensors wanted;
  for (const auto& [name, held] : tensors)
    wanted.emplace(name, checkpoint::whole_tensor(name, held.range.dtype, held.range.shape));
  const std::vector<std::string> lines = misfits(wanted, weights.tensors(), allowed);
  if (!lines.empty()) {
    std::string text = "--init-from: " + weights.path().string() + " does not fit the model";
    for (const std::string& line : lines) text += "; " + line;
    throw ConfigError(text + "; name with --allow-missing what need not fit");
  }
  for (const auto& [name, held] : tensors) {
    const auto found = weights.tensors().find(name);
    if (found == weights.tensors().end() || !fits(wanted.at(name), found->second)) continue;
    weights.read(held.range, const_cast<void*>(held.data));
  }
  state.give_back();
}

}  // namespace muster::internal
