// An update rule over this rank's pieces of the flat space, its state, and the average of weights.
#ifndef MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_
#define MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "flat_layout.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine_options.h"
#include "update_rule.h"

namespace muster::internal {

/// This rank's piece of a bucket, or a part of it that is cut between blocks.
struct PieceMemory {
  FlatRange range;
  float* parameters = nullptr;
  const float* gradient = nullptr;

  PieceMemory part(FlatRange inner) const {
    const std::int64_t skip = inner.begin - range.begin;
    return {inner, parameters + skip, gradient + skip};
  }
};

class FlatOptimizer {
 public:
  /// State is on `device`, as the pieces are. `shard` and `device` must outlive this.
  FlatOptimizer(const OptimizerOptions& options, std::vector<RuleParameter> parameters,
                const ShardLayout& shard, const PieceDevice& device);

  /// Collective, unless every rank owns all. What the rule must know of whole parameters; blocks.
  void prepare(Communicator& communicator, const UpdateNumbers& numbers,
               const std::function<PieceMemory(std::size_t bucket)>& piece);
  /// Of this rank's piece of bucket `bucket`.
  void update(std::size_t bucket, const PieceMemory& memory, const UpdateNumbers& numbers);

  /// State by name ("exp_avg", "exp_avg_sq", "momentum"), laid out as the shard is.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }
  /// State that every rank holds whole.
  std::vector<WholeState> whole_state() const { return rule_->whole_state(); }

 private:
  FlatSlice slice(std::size_t bucket, const PieceMemory& memory);

  const ShardLayout& shard_;
  std::unique_ptr<UpdateRule> rule_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FLAT_OPTIMIZER_H_
