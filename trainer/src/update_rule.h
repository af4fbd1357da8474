// What an optimizer does to this rank's slices of the flat space, whoever holds the others. No
// communication: numbers about whole parameters are measured by slices, added up by the caller over
// all ranks, and handed back.
#ifndef MUSTER_TRAINER_SRC_UPDATE_RULE_H_
#define MUSTER_TRAINER_SRC_UPDATE_RULE_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "flat_layout.h"
#include "muster/trainer/engine_options.h"
#include "piece_device.h"

namespace muster::internal {

/// Where a parameter lies and how it is treated.
struct RuleParameter {
  FlatRange range;  ///< Without padding.
  std::vector<std::int64_t> shape;
  double learning_rate_factor = 1;
  double weight_decay = 0;
};

/// One slice, cut between blocks. The pointers are to its first element.
struct FlatSlice {
  FlatRange range;
  float* values = nullptr;
  const float* gradient = nullptr;
  std::array<float*, 2> state = {};  ///< As flat_state() lists them.
};

/// The numbers of one update.
struct UpdateNumbers {
  double learning_rate = 0;
  double gradient_scale = 1;  ///< Turns the summed gradient into the clipped mean.
  double gradient_norm = 0;   ///< Of the clipped mean gradient; read where rounds() > 0.
  std::int64_t step = 1;      ///< Counts from 1.
};

/// State that every rank holds whole.
struct WholeState {
  std::string name;
  std::size_t parameter = 0;
  at::Tensor tensor;  ///< float32, contiguous.
};

/// One update is, on every rank alike:
///     for (int round = 0; round < rule.rounds(); ++round) {
///       std::vector<double> sums(rule.sums(round));        // zeros
///       measure(round, slice, numbers, sums)               // for each slice of this rank
///       <sum over all ranks, in any order: the bits do not depend on it>
///       combine(round, numbers, sums)
///     }
///     update(slice, numbers)                               // for each slice of this rank
/// The bits depend neither on the slices nor on the ranks.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;

  /// Names of the state that is laid out as the parameters are; at most two.
  virtual std::vector<std::string> flat_state() const { return {}; }
  virtual std::vector<WholeState> whole_state() const { return {}; }

  virtual int rounds() const { return 0; }
  virtual std::size_t sums(int /*round*/) const { return 0; }
  virtual void measure(int /*round*/, const FlatSlice& /*slice*/, const UpdateNumbers& /*numbers*/,
                       std::span<double> /*sums*/) {}
  virtual void combine(int /*round*/, const UpdateNumbers& /*numbers*/,
                       std::span<const double> /*sums*/) {}
  virtual void update(const FlatSlice& slice, const UpdateNumbers& numbers) = 0;
};

/// `parameters` by registration; they begin at multiples of 64 and lie nowhere across one another.
/// Slices are in memory of `device`: of the host's for rules that look at whole parameters, which
/// throw ConfigError for another.
std::unique_ptr<UpdateRule> make_update_rule(const OptimizerOptions& options,
                                             std::vector<RuleParameter> parameters,
                                             const PieceDevice& device = host_pieces());

std::unique_ptr<UpdateRule> make_elementwise_rule(const OptimizerOptions& options,
                                                  const std::vector<RuleParameter>& parameters,
                                                  const PieceDevice& device);
std::unique_ptr<UpdateRule> make_lamb_rule(const OptimizerOptions& options,
                                           std::vector<RuleParameter> parameters);
std::unique_ptr<UpdateRule> make_adafactor_rule(const OptimizerOptions& options,
                                                std::vector<RuleParameter> parameters);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_UPDATE_RULE_H_
