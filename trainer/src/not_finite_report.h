// What ranks find out together of numbers that are not finite, on the way to an error.
#ifndef MUSTER_TRAINER_SRC_NOT_FINITE_REPORT_H_
#define MUSTER_TRAINER_SRC_NOT_FINITE_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "module_tensors.h"
#include "muster/base/error.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine.h"

namespace muster::internal {

/// Collective. `logical_rank` is this rank's first whose loss was not finite; above all logical
/// ranks where it has none.
LossNotFinite loss_not_finite(Communicator& communicator, std::int64_t step, double loss,
                              int logical_rank);

/// Collective. `parameter` is this rank's first whose gradient is not finite; trainable.size()
/// where it has none.
UserError gradient_not_finite(Communicator& communicator, std::int64_t step,
                              const std::vector<NamedTensor>& trainable, std::size_t parameter);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_NOT_FINITE_REPORT_H_
