// A checkpoint's model as one file that other programs read: safetensors or plain HDF5.
#ifndef MUSTER_CHECKPOINT_EXPORT_H_
#define MUSTER_CHECKPOINT_EXPORT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "muster/base/dtype.h"
#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint {

/// What the trainer puts before the names of parameters and buffers, and before the names of
/// parameters for their averages.
inline constexpr const char* kModelPrefix = "model.";
inline constexpr const char* kAveragePrefix = "ema.";

struct ExportOptions {
  /// Every tensor by its full name; else the model's alone, without kModelPrefix.
  bool everything = false;
  /// The averages in the place of their parameters. Not with `everything`.
  bool averages = false;
  /// What floating-point tensors are converted to; others are left as they are.
  std::optional<DType> dtype = std::nullopt;

  /// Throws ConfigError.
  void validate() const;
};

struct Exported {
  std::int64_t tensors = 0;
  std::int64_t bytes = 0;  ///< Of their elements, as written.
  /// By tensor: how many finite elements are infinite in the narrower dtype.
  std::map<std::string, std::int64_t> overflows;
};

/// Both write the file durably and whole or leave `path` as it was, hold a few MiB whatever the
/// model's size, and check every byte they read. The file's bytes depend on the state and the
/// options alone. Both block and throw CheckpointError: the checkpoint is damaged, has no tensors
/// of a model (or no averages), the file cannot be written.

/// Metadata: "format": "pt", as Hugging Face's loaders demand, "muster_version" and "step".
Exported export_safetensors(const Checkpoint& checkpoint, const std::filesystem::path& path,
                            const ExportOptions& options, Env& env);

/// A dataset of each tensor's shape in the root group, '/' in names as %2F and '%' as %25.
Exported export_hdf5(const Checkpoint& checkpoint, const std::filesystem::path& path,
                     const ExportOptions& options, Env& env);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_EXPORT_H_
