// Checkpoints from one place to another: to an object store and back.
#ifndef MUSTER_CHECKPOINT_TRANSFER_H_
#define MUSTER_CHECKPOINT_TRANSFER_H_

#include <filesystem>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint {

/// Copies every file of `source`, which `from` reads, to the directory `target` of `to`: the
/// manifest last, so that without it the target is no checkpoint. Memory: one buffer of 8 MiB.
/// Blocks. Throws CheckpointError naming the file; what was written before stays.
void copy_checkpoint(const Checkpoint& source, Env& from, const std::filesystem::path& target,
                     Env& to);

/// The same, and then reads every byte of the copy back. Throws CheckpointError also where one is
/// damaged.
Checkpoint copy_checked(const Checkpoint& source, Env& from, const std::filesystem::path& target,
                        Env& to);

/// Downloads `source` to `target`, a path that is not there. It is written under a hidden name
/// beside it, read back byte by byte and renamed, so it is whole, or not there. Throws
/// CheckpointError, also where a byte is damaged.
void fetch_checkpoint(const Checkpoint& source, Env& from, const std::filesystem::path& target,
                      Env& to);

/// Deletes a checkpoint where nothing can be renamed: the manifest first, so that what is left of
/// it is none. No error when nothing is there. Throws CheckpointError.
void remove_checkpoint(const std::filesystem::path& path, Env& env);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_TRANSFER_H_
