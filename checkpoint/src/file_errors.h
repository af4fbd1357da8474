// Turns a failed system call into a CheckpointError that says what was being done and what to do
// now.
#ifndef MUSTER_CHECKPOINT_SRC_FILE_ERRORS_H_
#define MUSTER_CHECKPOINT_SRC_FILE_ERRORS_H_

#include <string>
#include <utility>

#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/read_errors.h"

namespace muster::checkpoint::internal {

/// "<doing>: <what failed>; <advice for this errno>"
std::string describe_file_error(const std::string& doing, const FileError& error);

/// Runs `action`; a FileError becomes a CheckpointError that begins with `doing`.
template <typename Action>
auto with_file_errors(const std::string& doing, Action&& action) {
  try {
    return std::forward<Action>(action)();
  } catch (const FileError& error) {
    throw CheckpointError(describe_file_error(doing, error));
  }
}

/// The same for reading, telling damage (CheckpointError) from no answer (Undecided).
template <typename Action>
auto with_read_errors(const std::string& doing, Action&& action) {
  try {
    return std::forward<Action>(action)();
  } catch (const FileError& error) {
    if (means_damage(error)) throw CheckpointError(describe_file_error(doing, error));
    throw Undecided(describe_file_error(doing, error));
  }
}

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_FILE_ERRORS_H_
