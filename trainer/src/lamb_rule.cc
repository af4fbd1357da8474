// LAMB: moments and both norms by pieces, then one trust ratio a parameter.
#include "lamb_kernels.h"
#include "parameter_pieces.h"
#include "update_rule.h"

namespace muster::internal {
namespace {

std::vector<FlatRange> ranges(const std::vector<RuleParameter>& parameters) {
  std::vector<FlatRange> result;
  for (const RuleParameter& parameter : parameters) result.push_back(parameter.range);
  return result;
}

class LambRule : public UpdateRule {
 public:
  LambRule(const OptimizerOptions& options, std::vector<RuleParameter> parameters)
      : options_(options), parameters_(std::move(parameters)), pieces_(ranges(parameters_)) {}

  std::vector<std::string> flat_state() const override { return {"exp_avg", "exp_avg_sq"}; }

  int rounds() const override { return 1; }
  /// Squares of the parameter, then of the direction, one number a piece each.
  std::size_t sums(int /*round*/) const override { return 2 * pieces_.size(); }

  void measure(int /*round*/, const FlatSlice& slice, const UpdateNumbers& numbers,
               std::span<double> sums) override {
    for (const std::size_t index : pieces_.within(slice.range)) {
      const Place at = place(slice, index);
      const LambFactors factors = factors_of(at.parameter, numbers);
      lamb_moments(at.gradient, at.exp_avg, at.exp_avg_sq, at.numel, factors);
      const LambSums squares =
          lamb_square_sums(at.values, at.exp_avg, at.exp_avg_sq, at.numel, factors);
      sums[index] = squares.parameter;
      sums[pieces_.size() + index] = squares.direction;
    }
  }

  void combine(int /*round*/, const UpdateNumbers& /*numbers*/,
               std::span<const double> sums) override {
    const std::vector<double> values = pieces_.sum_by_parameter(sums.first(pieces_.size()));
    const std::vector<double> directions = pieces_.sum_by_parameter(sums.subspan(pieces_.size()));
    trust_ratios_.clear();
    for (std::size_t i = 0; i < values.size(); ++i)
      trust_ratios_.push_back(lamb_trust_ratio({values[i], directions[i]}));
  }

  void update(const FlatSlice& slice, const UpdateNumbers& numbers) override {
    for (const std::size_t index : pieces_.within(slice.range)) {
      const Place at = place(slice, index);
      const double rate = numbers.learning_rate * parameters_[at.parameter].learning_rate_factor;
      lamb_apply(at.values, at.exp_avg, at.exp_avg_sq, at.numel, factors_of(at.parameter, numbers),
                 static_cast<float>(rate * trust_ratios_[at.parameter]));
    }
  }

 private:
  /// A piece in a slice's memory.
  struct Place {
    std::size_t parameter;
    std::int64_t numel;
    float* values;
    const float* gradient;
    float* exp_avg;
    float* exp_avg_sq;
  };

  Place place(const FlatSlice& slice, std::size_t index) const {
    const ParameterPiece& piece = pieces_[index];
    const std::int64_t skip = piece.range.begin - slice.range.begin;
    return {piece.parameter,       piece.range.numel(),   slice.values + skip,
            slice.gradient + skip, slice.state[0] + skip, slice.state[1] + skip};
  }

  LambFactors factors_of(std::size_t parameter, const UpdateNumbers& numbers) const {
    return lamb_factors(options_.beta1, options_.beta2, options_.epsilon,
                        parameters_[parameter].weight_decay, numbers.gradient_scale, numbers.step);
  }

  OptimizerOptions options_;
  std::vector<RuleParameter> parameters_;
  ParameterPieces pieces_;
  std::vector<double> trust_ratios_;  // [parameter]
};

}  // namespace

std::unique_ptr<UpdateRule> make_lamb_rule(const OptimizerOptions& options,
                                           std::vector<RuleParameter> parameters) {
  return std::make_unique<LambRule>(options, std::move(parameters));
}

}  // namespace muster::internal
