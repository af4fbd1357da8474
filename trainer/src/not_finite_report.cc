// The first of all ranks' first ones.
#include "not_finite_report.h"

#include <ATen/ops/full.h>

#include <cmath>
#include <string>

namespace muster::internal {
namespace {

std::int64_t least_of_all_ranks(Communicator& communicator, std::int64_t mine) {
  at::Tensor least = at::full({1}, mine, at::kLong);
  communicator.all_reduce(least, ReduceOp::kMin).wait();
  return least.item<std::int64_t>();
}

}  // namespace

LossNotFinite loss_not_finite(Communicator& communicator, std::int64_t step, double loss,
                              int logical_rank) {
  const std::int64_t first = least_of_all_ranks(communicator, logical_rank);
  return LossNotFinite("step " + std::to_string(step) + ": expected a finite loss, found " +
                           (std::isnan(loss) ? "nan" : std::to_string(loss)) + "; logical rank " +
                           std::to_string(first) +
                           " has the first such micro-batch; no update was made",
                       static_cast<int>(first));
}

UserError gradient_not_finite(Communicator& communicator, std::int64_t step,
                              const std::vector<NamedTensor>& trainable, std::size_t parameter) {
  const auto first = static_cast<std::size_t>(
      least_of_all_ranks(communicator, static_cast<std::int64_t>(parameter)));
  return UserError(
      "step " + std::to_string(step) + ": expected a finite gradient, found one whose norm is not" +
      (first < trainable.size() ? ", first in parameter '" + trainable[first].name + "'" : "") +
      "; the loss was finite; no update was made; lower the learning rate, clip the gradient, or "
      "look for a division by zero in backward");
}

}  // namespace muster::internal
