// Adafactor: row and column sums, exact in any order; then the updates' norms by pieces.
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "adafactor_kernels.h"
#include "optimizer_kernels.h"
#include "parameter_pieces.h"
#include "update_rule.h"

namespace muster::internal {
namespace {

constexpr double kEpsilon1 = 0x1p-23;  // as torch.optim.Adafactor: that of float32

/// A parameter as [batches, rows, columns]; a vector is one row, of which only the columns count.
struct MatrixView {
  bool factored = false;
  std::int64_t batches = 1, rows = 1, columns = 1;
  std::int64_t all_rows() const { return factored ? batches * rows : 0; }
  std::int64_t all_columns() const { return batches * columns; }
};

MatrixView view_of(const std::vector<std::int64_t>& shape, std::int64_t numel) {
  if (shape.size() < 2) return {false, 1, 1, numel};
  const std::int64_t rows = shape[shape.size() - 2];
  const std::int64_t columns = shape.back();
  return {true, rows * columns == 0 ? 0 : numel / (rows * columns), rows, columns};
}

/// Neighbours of a piece in one row.
struct Stretch {
  std::int64_t begin = 0;  ///< In the piece.
  std::int64_t numel = 0;
  std::int64_t row = 0;     ///< Over all batches.
  std::int64_t column = 0;  ///< Over all batches.
};

/// Calls `f` for each stretch of elements [begin, end) of a parameter.
template <typename F>
void for_each_stretch(const MatrixView& view, FlatRange in_parameter, F&& f) {
  for (std::int64_t at = in_parameter.begin; at < in_parameter.end;) {
    const std::int64_t row = at / view.columns;
    const std::int64_t column = at % view.columns;
    const std::int64_t numel = std::min(view.columns - column, in_parameter.end - at);
    f(Stretch{at - in_parameter.begin, numel, row, row / view.rows * view.columns + column});
    at += numel;
  }
}

/// One parameter's state, and what the present update makes of it.
struct Factors {
  MatrixView view;
  std::size_t sums_at = 0;  // rows' high and low parts, then the columns'
  at::Tensor row_variance;  // [batches, rows]; vectors have none
  at::Tensor column_variance;
  std::vector<float> row_factor;  // row variance over its mean in the batch
  double square_sum = 0;          // of the parameter
  float step_size = 0;
};

/// Moves an average towards the mean of `count` squares each.
void average(at::Tensor& variance, const double* high, const double* low, std::int64_t count,
             double weight) {
  auto* values = variance.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < variance.numel(); ++i) {
    const double mean = (high[i] + low[i]) / static_cast<double>(count);
    const auto old = static_cast<double>(values[i]);
    values[i] = static_cast<float>(old + weight * (mean - old));
  }
}

void normalise_rows(Factors& f) {
  const auto* rows = f.row_variance.const_data_ptr<float>();
  f.row_factor.resize(static_cast<std::size_t>(f.view.all_rows()));
  for (std::int64_t batch = 0; batch < f.view.batches; ++batch) {
    const float* first = rows + batch * f.view.rows;
    const std::vector<double> wide(first, first + f.view.rows);
    const double mean = tree_sum(wide.data(), f.view.rows) / static_cast<double>(f.view.rows);
    for (std::int64_t r = 0; r < f.view.rows; ++r) {
      f.row_factor[static_cast<std::size_t>(batch * f.view.rows + r)] =
          static_cast<float>(wide[static_cast<std::size_t>(r)] / std::max(mean, kEpsilon1));
    }
  }
}

class AdafactorRule : public UpdateRule {
 public:
  AdafactorRule(const OptimizerOptions& options, std::vector<RuleParameter> parameters)
      : options_(options), parameters_(std::move(parameters)), pieces_(ranges()) {
    sums_ = pieces_.size();
    for (const RuleParameter& parameter : parameters_) {
      Factors f;
      f.view = view_of(parameter.shape, parameter.range.numel());
      const auto zeros = [](std::int64_t batches, std::int64_t width) {
        return at::zeros({batches, width}, at::TensorOptions(at::kFloat));
      };
      if (f.view.factored) f.row_variance = zeros(f.view.batches, f.view.rows);
      f.column_variance = zeros(f.view.batches, f.view.columns);
      f.sums_at = sums_;
      sums_ += static_cast<std::size_t>(2 * (f.view.all_rows() + f.view.all_columns()));
      factors_.push_back(std::move(f));
    }
  }

  std::vector<WholeState> whole_state() const override {
    std::vector<WholeState> state;
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      const Factors& f = factors_[i];
      if (f.view.factored) state.push_back({"row_variance", i, f.row_variance});
      state.push_back({f.view.factored ? "column_variance" : "variance", i, f.column_variance});
    }
    return state;
  }

  int rounds() const override { return 2; }
  /// Squares of the parameters by pieces, then squares of the gradients by rows and columns; in the
  /// second round squares of the updates by pieces.
  std::size_t sums(int round) const override { return round == 0 ? sums_ : pieces_.size(); }

  void measure(int round, const FlatSlice& slice, const UpdateNumbers& numbers,
               std::span<double> sums) override {
    for (const std::size_t index : pieces_.within(slice.range)) {
      const ParameterPiece& piece = pieces_[index];
      const std::int64_t skip = piece.range.begin - slice.range.begin;
      if (round == 0) {
        sums[index] = internal::square_sum(slice.values + skip, piece.range.numel());
        add_gradients(piece, slice.gradient + skip, numbers, sums);
      } else {
        for_each_row(piece, numbers, [&](const Stretch& s, const AdafactorRow& row) {
          sums[index] += adafactor_square_sum(slice.gradient + skip + s.begin, s.numel, row);
        });
      }
    }
  }

  void combine(int round, const UpdateNumbers& numbers, std::span<const double> sums) override {
    const std::vector<double> totals = pieces_.sum_by_parameter(sums.first(pieces_.size()));
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      if (parameters_[i].range.numel() == 0) continue;
      if (round == 0) {
        factors_[i].square_sum = totals[i];
        update_variances(factors_[i], numbers, sums);
      } else {
        factors_[i].step_size = static_cast<float>(step_size(i, totals[i], numbers));
      }
    }
  }

  void update(const FlatSlice& slice, const UpdateNumbers& numbers) override {
    for (const std::size_t index : pieces_.within(slice.range)) {
      const ParameterPiece& piece = pieces_[index];
      const std::int64_t skip = piece.range.begin - slice.range.begin;
      const RuleParameter& p = parameters_[piece.parameter];
      const double rate = numbers.learning_rate * p.learning_rate_factor;
      const auto decay = static_cast<float>(1.0 - rate * p.weight_decay);
      for_each_row(piece, numbers, [&](const Stretch& s, const AdafactorRow& row) {
        adafactor_apply(slice.values + skip + s.begin, slice.gradient + skip + s.begin, s.numel,
                        row, decay, factors_[piece.parameter].step_size);
      });
    }
  }

 private:
  std::vector<FlatRange> ranges() const {
    std::vector<FlatRange> result;
    for (const RuleParameter& parameter : parameters_) result.push_back(parameter.range);
    return result;
  }

  FlatRange in_parameter(const ParameterPiece& piece) const {
    const std::int64_t begin = parameters_[piece.parameter].range.begin;
    return {piece.range.begin - begin, piece.range.end - begin};
  }

  void add_gradients(const ParameterPiece& piece, const float* gradient,
                     const UpdateNumbers& numbers, std::span<double> sums) const {
    const Factors& f = factors_[piece.parameter];
    const SquareSplit split = square_split(numbers.gradient_norm);
    const auto scale = static_cast<float>(numbers.gradient_scale);
    double* rows = sums.data() + f.sums_at;
    double* columns = rows + 2 * f.view.all_rows();
    for_each_stretch(f.view, in_parameter(piece), [&](const Stretch& s) {
      ExactSum row;
      add_squares(gradient + s.begin, s.numel, scale, split, row, columns + s.column,
                  columns + f.view.all_columns() + s.column);
      if (!f.view.factored) return;
      rows[s.row] += row.high;
      rows[f.view.all_rows() + s.row] += row.low;
    });
  }

  /// Calls `f` with each stretch of a piece and how it becomes an update.
  template <typename F>
  void for_each_row(const ParameterPiece& piece, const UpdateNumbers& numbers, F&& f) const {
    const Factors& factors = factors_[piece.parameter];
    const auto* columns = factors.column_variance.const_data_ptr<float>();
    for_each_stretch(factors.view, in_parameter(piece), [&](const Stretch& s) {
      AdafactorRow row;
      row.scale = static_cast<float>(numbers.gradient_scale);
      if (factors.view.factored) row.row = factors.row_factor[static_cast<std::size_t>(s.row)];
      row.floor = static_cast<float>(kEpsilon1 * kEpsilon1);
      row.column = columns + s.column;
      f(s, row);
    });
  }

  void update_variances(Factors& f, const UpdateNumbers& numbers, std::span<const double> sums) {
    const double weight = std::pow(static_cast<double>(numbers.step), options_.beta2_decay);
    const double* rows = sums.data() + f.sums_at;
    const double* columns = rows + 2 * f.view.all_rows();
    average(f.column_variance, columns, columns + f.view.all_columns(), f.view.rows, weight);
    if (!f.view.factored) return;
    average(f.row_variance, rows, rows + f.view.all_rows(), f.view.columns, weight);
    normalise_rows(f);
  }

  double step_size(std::size_t parameter, double update_square_sum,
                   const UpdateNumbers& numbers) const {
    const auto numel = static_cast<double>(parameters_[parameter].range.numel());
    const double rate = numbers.learning_rate * parameters_[parameter].learning_rate_factor;
    const double relative = std::min(rate, 1.0 / std::sqrt(static_cast<double>(numbers.step)));
    const double root_mean_square = std::sqrt(factors_[parameter].square_sum / numel);
    const double alpha = std::max(options_.epsilon2, root_mean_square) * relative;
    const double update_rms = std::sqrt(update_square_sum / numel);
    return alpha / std::max(1.0, update_rms / options_.update_threshold);
  }

  OptimizerOptions options_;
  std::vector<RuleParameter> parameters_;
  ParameterPieces pieces_;
  std::size_t sums_ = 0;
  std::vector<Factors> factors_;
};

}  // namespace

std::unique_ptr<UpdateRule> make_adafactor_rule(const OptimizerOptions& options,
                                                std::vector<RuleParameter> parameters) {
  return std::make_unique<AdafactorRule>(options, std::move(parameters));
}

}  // namespace muster::internal
