// Run state as JSON.
#include "run_state.h"

#include <cinttypes>
#include <cstdio>

#include "muster/base/error.h"
#include "muster/trainer/trainer_options.h"

namespace muster::internal {

Json JobProgress::to_json() const {
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016" PRIx64, ledger);
  return {{"step", step},
          {"epoch", epoch},
          {"position", position},
          {"ledger", hex},
          {"tokens", tokens},
          {"loss_scale", loss_scale.scale},
          {"loss_scale_good_steps", loss_scale.good_steps},
          {"skipped_steps", loss_scale.skipped_steps}};
}

JobProgress JobProgress::from_json(const Json& json, const std::string& origin) {
  try {
    JobProgress progress;
    progress.step = json_field<std::int64_t>(json, "step", origin);
    progress.epoch = json_field<std::int64_t>(json, "epoch", origin);
    progress.position = json_field<std::int64_t>(json, "position", origin);
    progress.ledger = std::stoull(json_field<std::string>(json, "ledger", origin), nullptr, 16);
    progress.tokens = json_field<double>(json, "tokens", origin);
    progress.loss_scale.scale = json_field<double>(json, "loss_scale", origin);
    progress.loss_scale.good_steps =
        json_field<std::int64_t>(json, "loss_scale_good_steps", origin);
    progress.loss_scale.skipped_steps = json_field<std::int64_t>(json, "skipped_steps", origin);
    return progress;
  } catch (const std::exception& e) {
    throw CheckpointError(origin + ": expected the progress of a run, found: " + e.what());
  }
}

namespace {

Json options_that_are(bool circumstances, const OptionSet& options) {
  Json found = Json::object();
  const Json all = options.to_json();
  for (const auto& [name, value] : all.items()) {
    if (is_circumstance(name) == circumstances) found[name] = value;
  }
  return found;
}

}  // namespace

Json job_definition(const OptionSet& options) { return options_that_are(false, options); }

Json circumstance_options(const OptionSet& options) { return options_that_are(true, options); }

std::vector<std::string> differences(const Json& expected, const Json& found) {
  std::vector<std::string> lines;
  for (const auto& [name, value] : expected.items()) {
    const Json other = found.contains(name) ? found.at(name) : Json();
    if (other != value)
      lines.push_back(name + ": expected " + value.dump() + ", found " + other.dump());
  }
  for (const auto& [name, value] : found.items()) {
    if (!expected.contains(name))
      lines.push_back(name + ": expected nothing, found " + value.dump());
  }
  return lines;
}

}  // namespace muster::internal
