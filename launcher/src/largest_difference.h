// By how much do the numbers of two tensors differ?
#ifndef MUSTER_LAUNCHER_LARGEST_DIFFERENCE_H_
#define MUSTER_LAUNCHER_LARGEST_DIFFERENCE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "muster/base/dtype.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::launcher {

/// The largest |a[i] - b[i]| over `numel` elements, in double; NaN when one of a pair is NaN or
/// infinite and the other is not the same.
double largest_difference(DType dtype, const std::byte* a, const std::byte* b, std::int64_t numel);

/// The same for the tensor `name`, which both have with one dtype and shape. Reads both, a piece at
/// a time; throws CheckpointError as Checkpoint::read does.
double largest_difference(const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b,
                          const std::string& name);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_LARGEST_DIFFERENCE_H_
