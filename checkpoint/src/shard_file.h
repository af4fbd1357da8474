// Writes one rank's file: HDF5's structure from memory, the data straight from the caller's memory,
// checksums in the same pass.
#ifndef MUSTER_CHECKPOINT_SRC_SHARD_FILE_H_
#define MUSTER_CHECKPOINT_SRC_SHARD_FILE_H_

#include <filesystem>
#include <span>

#include "hdf5_skeleton.h"
#include "muster/base/env.h"
#include "muster/checkpoint/shard_record.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// Creates or truncates `path` and makes its bytes durable; its name in the directory is the
/// caller's to sync. On failure removes the file. Throws FileError when the disk refuses,
/// CheckpointError when a source is wrong. `wait_for_bytes` may be empty.
ShardRecord write_shard_file(const std::filesystem::path& path, const FileIdentity& identity,
                             std::span<const SourceRange> sources,
                             const WaitForBytes& wait_for_bytes, Env& env);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_SHARD_FILE_H_
