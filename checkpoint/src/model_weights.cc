// One face for checkpoints and safetensors files.
#include "muster/checkpoint/model_weights.h"

#include <vector>

#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/elements.h"
#include "muster/checkpoint/export.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

fs::path ModelWeights::find(const fs::path& path, Env& env) {
  if (names_safetensors(path) || env.exists(path / kManifestFile)) return path;
  const std::vector<Info> infos = CheckpointStore(path, env).list();
  for (auto info = infos.rbegin(); info != infos.rend(); ++info) {
    if (info->complete) return info->path;
  }
  throw ConfigError(path.string() +
                    ": expected a .safetensors file, a .safetensors.index.json, a checkpoint or a "
                    "directory with a complete "
                    "one, found none; check the path");
}

ModelWeights ModelWeights::open(const fs::path& path, Env& env) {
  ModelWeights weights;
  weights.path_ = find(path, env);
  if (names_safetensors(path)) {
    weights.file_ = SafetensorsModel::open(path, env);
    weights.tensors_ = weights.file_->tensors();
    return weights;
  }
  weights.checkpoint_ = Checkpoint::open(weights.path_, env);
  const std::string prefix = kModelPrefix;
  for (const auto& [name, entry] : weights.checkpoint_->manifest().tensors) {
    if (!name.starts_with(prefix)) continue;
    const std::string plain = name.substr(prefix.size());
    weights.tensors_.emplace(plain, TensorRange{plain, entry.dtype, entry.shape, 0, entry.numel()});
  }
  return weights;
}

void ModelWeights::read(const TensorRange& range, void* out) const {
  TensorRange stored = range;
  const auto found = tensors_.find(range.name);
  if (found != tensors_.end()) stored.dtype = found->second.dtype;
  if (checkpoint_) stored.name = kModelPrefix + range.name;
  const auto read_stored = [&](void* to) {
    checkpoint_ ? checkpoint_->read(stored, to) : file_->read(stored, to);
  };
  if (stored.dtype == range.dtype) {
    read_stored(out);
    return;
  }
  if (!is_float(stored.dtype) || !is_float(range.dtype)) {
    throw CheckpointError(path_.string() + ": expected tensor " + describe(range) + ", found " +
                          std::string(dtype_name(stored.dtype)) +
                          "; only floating-point types are converted");
  }
  std::vector<std::byte> unconverted(static_cast<std::size_t>(stored.bytes()));
  read_stored(unconverted.data());
  convert_floats(stored.dtype, unconverted.data(), range.dtype, out, range.numel());
}

}  // namespace muster::checkpoint
