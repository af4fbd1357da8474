// SGD, Adam, AdamW, Lion: each element by itself, so that neighbours with equal settings are one
// loop.
#include <algorithm>
#include <limits>

#include "muster/base/error.h"
#include "optimizer_kernels.h"
#include "update_rule.h"

namespace muster::internal {
namespace {

struct Segment {
  FlatRange range;
  double learning_rate_factor = 1;
  double weight_decay = 0;
};

/// Each parameter with the padding behind it (zeros, which every rule leaves alone); neighbours
/// with equal settings are joined.
std::vector<Segment> make_segments(std::vector<RuleParameter> parameters) {
  std::sort(parameters.begin(), parameters.end(),
            [](const auto& a, const auto& b) { return a.range.begin < b.range.begin; });
  std::vector<Segment> segments;
  for (const RuleParameter& p : parameters) {
    if (p.range.numel() == 0) continue;
    if (!segments.empty()) {
      segments.back().range.end = p.range.begin;
      if (segments.back().learning_rate_factor == p.learning_rate_factor &&
          segments.back().weight_decay == p.weight_decay)
        continue;
    }
    segments.push_back({p.range, p.learning_rate_factor, p.weight_decay});
  }
  if (!segments.empty()) segments.back().range.end = std::numeric_limits<std::int64_t>::max();
  return segments;
}

class ElementwiseRule : public UpdateRule {
 public:
  ElementwiseRule(const OptimizerOptions& options, const std::vector<RuleParameter>& parameters,
                  const PieceDevice& device)
      : options_(options), device_(device), segments_(make_segments(parameters)) {}

  std::vector<std::string> flat_state() const override {
    switch (options_.kind) {
      case OptimizerKind::kAdam:
      case OptimizerKind::kAdamW:
        return {"exp_avg", "exp_avg_sq"};
      case OptimizerKind::kLion:
        return {"exp_avg"};
      default:
        return options_.momentum != 0 ? std::vector<std::string>{"momentum"}
                                      : std::vector<std::string>{};
    }
  }

  void update(const FlatSlice& slice, const UpdateNumbers& numbers) override {
    auto segment = std::partition_point(segments_.begin(), segments_.end(), [&](const Segment& s) {
      return s.range.end <= slice.range.begin;
    });
    for (; segment != segments_.end() && segment->range.begin < slice.range.end; ++segment) {
      const FlatRange part{std::max(segment->range.begin, slice.range.begin),
                           std::min(segment->range.end, slice.range.end)};
      const std::int64_t skip = part.begin - slice.range.begin;
      FlatSlice inner{part, slice.values + skip, slice.gradient + skip, {}};
      for (std::size_t i = 0; i < slice.state.size(); ++i) {
        if (slice.state[i] != nullptr) inner.state[i] = slice.state[i] + skip;
      }
      update_segment(inner, numbers.learning_rate * segment->learning_rate_factor,
                     segment->weight_decay, numbers);
    }
  }

 private:
  void update_segment(const FlatSlice& s, double learning_rate, double weight_decay,
                      const UpdateNumbers& numbers) const {
    const std::int64_t numel = s.range.numel();
    switch (options_.kind) {
      case OptimizerKind::kAdamW:
        return device_.adamw_update(
            s.values, s.gradient, s.state[0], s.state[1], numel,
            adamw_factors(learning_rate, options_.beta1, options_.beta2, options_.epsilon,
                          weight_decay, numbers.gradient_scale, numbers.step));
      case OptimizerKind::kAdam:
        return device_.adam_update(
            s.values, s.gradient, s.state[0], s.state[1], numel,
            adamw_factors(learning_rate, options_.beta1, options_.beta2, options_.epsilon,
                          /*weight_decay=*/0, numbers.gradient_scale, numbers.step),
            static_cast<float>(weight_decay));
      case OptimizerKind::kLion:
        return device_.lion_update(s.values, s.gradient, s.state[0], numel,
                                   lion_factors(learning_rate, options_.beta1, options_.beta2,
                                                weight_decay, numbers.gradient_scale));
      case OptimizerKind::kSgd:
        return device_.sgd_update(s.values, s.gradient, s.state[0], numel,
                                  sgd_factors(learning_rate, weight_decay, numbers));
      case OptimizerKind::kLamb:
      case OptimizerKind::kAdafactor:
        break;
    }
    throw InternalError("elementwise rule: LAMB and Adafactor look at whole parameters");
  }

  SgdFactors sgd_factors(double learning_rate, double weight_decay,
                         const UpdateNumbers& numbers) const {
    SgdFactors factors;
    factors.gradient_scale = static_cast<float>(numbers.gradient_scale);
    factors.weight_decay = static_cast<float>(weight_decay);
    factors.momentum = static_cast<float>(options_.momentum);
    if (numbers.step > 1) factors.gradient_weight = static_cast<float>(1.0 - options_.dampening);
    factors.learning_rate = static_cast<float>(learning_rate);
    factors.nesterov = options_.nesterov;
    return factors;
  }

  OptimizerOptions options_;
  const PieceDevice& device_;
  std::vector<Segment> segments_;  // in the order of the flat space
};

}  // namespace

std::unique_ptr<UpdateRule> make_elementwise_rule(const OptimizerOptions& options,
                                                  const std::vector<RuleParameter>& parameters,
                                                  const PieceDevice& device) {
  return std::make_unique<ElementwiseRule>(options, parameters, device);
}

std::unique_ptr<UpdateRule> make_update_rule(const OptimizerOptions& options,
                                             std::vector<RuleParameter> parameters,
                                             const PieceDevice& device) {
  const bool whole =
      options.kind == OptimizerKind::kLamb || options.kind == OptimizerKind::kAdafactor;
  if (!whole) return make_elementwise_rule(options, parameters, device);
  if (!device.options().device().is_cpu()) {
    throw ConfigError(
        "optimizer: expected LAMB's and Adafactor's state in host memory, found it on a GPU; give "
        "--offload optimizer, or take another optimizer");
  }
  if (options.kind == OptimizerKind::kLamb) return make_lamb_rule(options, std::move(parameters));
  return make_adafactor_rule(options, std::move(parameters));
}

}  // namespace muster::internal
