// Checkpoints on their way into a registry where nothing can be renamed.
#ifndef MUSTER_CHECKPOINT_SRC_REGISTRY_UPLOADS_H_
#define MUSTER_CHECKPOINT_SRC_REGISTRY_UPLOADS_H_

#include <filesystem>
#include <string>
#include <vector>

#include "muster/base/env.h"

namespace muster::checkpoint::internal {

/// Whether a record may name an upload so: one directory, and none above.
bool is_upload_name(const std::string& name);

/// A directory below `uploads` that is this process's alone, for a checkpoint. Gone with its owner
/// unless it was kept.
class Upload {
 public:
  Upload(const std::filesystem::path& uploads, Env& env);
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  const std::string& name() const { return name_; }
  const std::filesystem::path& path() const { return path_; }

  /// To be called before a record that names it is sent: of a record without an answer nobody knows
  /// whether it arrived.
  void keep() { kept_ = true; }

 private:
  std::string name_;
  std::filesystem::path path_;
  Env* env_;
  bool kept_ = false;
};

/// The uploads of processes of this machine that are gone: those of versions, and those that were
/// never finished.
std::vector<std::string> ownerless_uploads(const std::filesystem::path& uploads, Env& env);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_REGISTRY_UPLOADS_H_
