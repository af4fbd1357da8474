// A model's tensors in one safetensors file, or in several with an index, as Hugging Face's
// libraries write large models.
#ifndef MUSTER_CHECKPOINT_SAFETENSORS_MODEL_H_
#define MUSTER_CHECKPOINT_SAFETENSORS_MODEL_H_

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/safetensors.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

/// Whether a path is one for SafetensorsModel, by its name.
bool names_safetensors(const std::filesystem::path& path);

/// An index is JSON: `weight_map`, tensor -> the plain name of a file beside it, and `metadata`,
/// perhaps with `total_size`, the bytes of all tensors. Neither it nor the files are trusted.
///
/// Holds headers, never data. Any thread.
class SafetensorsModel {
 public:
  /// A model of one file.
  SafetensorsModel(SafetensorsFile file);  // NOLINT(google-explicit-constructor)

  /// `path` is `*.safetensors` or `*.safetensors.index.json`. Throws CheckpointError as
  /// SafetensorsFile does; of an index also: more than 100 MB, no weight_map, a name given twice, a
  /// file that is not a plain *.safetensors name or is not there, a tensor that is missing from its
  /// file, is in two, or is in one and not in the index, another total_size. Blocks.
  static SafetensorsModel open(const std::filesystem::path& path, Env& env);

  /// The file, or the index.
  const std::filesystem::path& path() const { return path_; }
  /// Whole tensors, by name.
  const std::map<std::string, TensorRange>& tensors() const { return tensors_; }
  /// Of all files; where they disagree, that of the first.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// As SafetensorsFile::read().
  void read(const TensorRange& range, void* out) const;

 private:
  SafetensorsModel() = default;
  void add(SafetensorsFile file);

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_of_;  // tensor -> index into files_
  std::map<std::string, TensorRange> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_SAFETENSORS_MODEL_H_
