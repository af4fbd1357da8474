// The arithmetic of steps and micro-batches.
#include "muster/data_loader/batch_plan.h"

#include <algorithm>
#include <string>
#include <utility>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace {

// Leaves room for position + global batch in 63 bits.
constexpr std::int64_t kMaxSamples = std::int64_t{1} << 62;

bool product_fits(std::int64_t a, std::int64_t b, std::int64_t c) {
  std::int64_t product = 0;
  return !__builtin_mul_overflow(a, b, &product) && !__builtin_mul_overflow(product, c, &product) &&
         product <= kMaxSamples;
}

}  // namespace

void BatchPlan::validate() const {
  std::string problems;
  const auto add = [&problems](const std::string& problem) {
    problems += (problems.empty() ? "" : "\n") + problem;
  };
  bool counts_are_good = true;
  for (const auto& [name, value] :
       {std::pair{"samples in the dataset", samples}, std::pair{"logical_ranks", logical_ranks},
        std::pair{"accumulation_steps", accumulation_steps},
        std::pair{"micro_batch", micro_batch}}) {
    if (value >= 1 && value <= kMaxSamples) continue;
    counts_are_good = false;
    add(std::string(name) + ": expected 1 to 2^62; found " + std::to_string(value) + ". Change it");
  }
  if (counts_are_good && !product_fits(logical_ranks, accumulation_steps, micro_batch)) {
    add("logical_ranks * accumulation_steps * micro_batch: expected at most 2^62; found more. "
        "Lower one of them");
  } else if (counts_are_good && drop_last && samples < global_batch()) {
    add("drop_last: expected a dataset of at least one global batch (" +
        std::to_string(global_batch()) + " samples); found " + std::to_string(samples) +
        " samples. Lower micro_batch, or turn drop_last off");
  }
  if (!problems.empty()) throw ConfigError(problems);
}

std::int64_t BatchPlan::steps_per_epoch() const {
  const bool short_step = samples % global_batch() != 0 && !drop_last;
  return samples / global_batch() + (short_step ? 1 : 0);
}

bool BatchPlan::has_step(std::int64_t position) const {
  return position >= 0 && samples - position >= (drop_last ? global_batch() : 1);
}

PositionRange BatchPlan::step(std::int64_t step_position) const {
  MUSTER_CHECK(has_step(step_position)) << "position " << step_position << " of " << samples;
  return {step_position, std::min(step_position + global_batch(), samples)};
}

PositionRange BatchPlan::micro_batch_of(std::int64_t step_position, std::int64_t logical_rank,
                                        std::int64_t micro_step) const {
  MUSTER_CHECK(logical_rank >= 0 && logical_rank < logical_ranks) << logical_rank;
  MUSTER_CHECK(micro_step >= 0 && micro_step < accumulation_steps) << micro_step;
  const PositionRange whole = step(step_position);
  const std::int64_t begin =
      whole.begin + (logical_rank * accumulation_steps + micro_step) * micro_batch;
  return {std::min(begin, whole.end), std::min(begin + micro_batch, whole.end)};
}

}  // namespace muster
