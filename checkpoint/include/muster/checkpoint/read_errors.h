// What a failed read says of the data: that it is damaged, or nothing.
#ifndef MUSTER_CHECKPOINT_READ_ERRORS_H_
#define MUSTER_CHECKPOINT_READ_ERRORS_H_

#include "muster/base/env.h"
#include "muster/base/error.h"

namespace muster::checkpoint {

/// The disk, the store or the format gave no answer: the data may be sound, so nothing may be
/// called damaged, and nothing older taken, for it.
class Undecided : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

/// Whether a failed read means that the data is gone or unreadable, and not, say, that this process
/// ran out of files or a store could not be reached.
bool means_damage(const FileError& error);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_READ_ERRORS_H_
