// A model's weights by the model's own names, from whatever holds them.
#ifndef MUSTER_CHECKPOINT_MODEL_WEIGHTS_H_
#define MUSTER_CHECKPOINT_MODEL_WEIGHTS_H_

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/safetensors_model.h"

namespace muster::checkpoint {

/// Holds names only; data is read on demand. Cheap to copy. Any thread.
class ModelWeights {
 public:
  /// `path` itself when it is a safetensors file, the index of several (both by their names) or a
  /// checkpoint; of a directory of checkpoints the newest complete one, which is another as soon as
  /// a run saves there. Blocks. Throws ConfigError when there is no such thing there,
  /// CheckpointError when it cannot be read.
  static std::filesystem::path find(const std::filesystem::path& path, Env& env);

  /// What find() finds. Of a checkpoint the tensors under kModelPrefix are the model's. `env` must
  /// outlive the weights. Blocks and throws as find() does.
  static ModelWeights open(const std::filesystem::path& path, Env& env);

  /// The file or the checkpoint.
  const std::filesystem::path& path() const { return path_; }
  /// Whole tensors, by name.
  const std::map<std::string, TensorRange>& tensors() const { return tensors_; }

  /// Fills `out` with the elements of `range`, whose dtype may be another float type than the
  /// stored one: then each is rounded once. Blocks. Throws CheckpointError when there is no tensor
  /// of that name and shape, when its dtype cannot be converted, and when bytes are missing or, in
  /// a checkpoint, damaged.
  void read(const TensorRange& range, void* out) const;

 private:
  ModelWeights() = default;

  std::filesystem::path path_;
  std::map<std::string, TensorRange> tensors_;
  std::optional<Checkpoint> checkpoint_;  // or
  std::optional<SafetensorsModel> file_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_MODEL_WEIGHTS_H_
