// What a tensor's name and range must be before they are written, or believed when read.
#ifndef MUSTER_CHECKPOINT_SRC_RANGE_CHECKS_H_
#define MUSTER_CHECKPOINT_SRC_RANGE_CHECKS_H_

#include <string>

#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// 1 to 1000 bytes of UTF-8 without control characters. Throws CheckpointError.
void check_tensor_name(const std::string& name);

/// Name, shape and 0 <= begin <= end <= numel. Throws CheckpointError.
void check_range(const TensorRange& range);

/// A right range, and an address where it has elements. Throws CheckpointError.
void check_source(const SourceRange& source);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_RANGE_CHECKS_H_
