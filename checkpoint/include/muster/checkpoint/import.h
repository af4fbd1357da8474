// Weights of others as a checkpoint: verified, listed and compared like one's own, and what a
// trainer starts from.
#ifndef MUSTER_CHECKPOINT_IMPORT_H_
#define MUSTER_CHECKPOINT_IMPORT_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/safetensors_model.h"

namespace muster::checkpoint {

/// Where an imported checkpoint's run_state says where it comes from.
inline constexpr const char* kImportedField = "imported";

struct ImportOptions {
  /// Put before every name; "model." (kModelPrefix) makes them what a trainer knows.
  std::string prefix = "model.";
  /// A file of the checkpoint holds so much of the data, and so much memory is needed.
  std::int64_t shard_bytes = std::int64_t{256} << 20;
};

/// Commits the tensors of `file` as step 0 in the directory of `store`, which holds no checkpoints
/// yet, and returns the checkpoint's path. run_state has "progress" {"step": 0} and "imported" with
/// the file's name, size and metadata. Blocks. Throws CheckpointError: there are checkpoints, a
/// name is none for checkpoints, reading or writing failed.
std::filesystem::path import_safetensors(const SafetensorsModel& file, CheckpointStore& store,
                                         const ImportOptions& options);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_IMPORT_H_
