// An object store behind the interface that files are behind, through Arrow's filesystem.
#ifndef MUSTER_LAUNCHER_STORE_S3_ENV_H_
#define MUSTER_LAUNCHER_STORE_S3_ENV_H_

#include <memory>
#include <string>

#include "muster/base/env.h"

namespace muster::launcher {

/// Paths are "s3://bucket/key". An object is there, whole, once its file is closed; files are
/// written from their beginning to their end. Directories are prefixes: they need no creating, and
/// nothing can be renamed. Credentials and region are AWS's own (AWS_ACCESS_KEY_ID and so on,
/// ~/.aws, the machine's role); AWS_ENDPOINT_URL names another store than Amazon's. What the store
/// says stands in the FileError: ENOENT where something is not there, EHOSTUNREACH for all else,
/// since that says nothing about the data.
class S3Env : public Env {
 public:
  /// Throws CheckpointError where AWS_ENDPOINT_URL is none, or Arrow cannot begin.
  S3Env();
  ~S3Env() override;

  std::unique_ptr<WritableFile> create_file(const std::filesystem::path& path) override;
  std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& path) override;
  void create_directories(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove_all(const std::filesystem::path& path) override;
  std::vector<std::string> list_directory(const std::filesystem::path& path) override;
  bool exists(const std::filesystem::path& path) override;
  std::chrono::system_clock::time_point now() override;

  /// Makes `text` the object `path` unless there is one: then false. Of all calls for one path,
  /// from anywhere, one returns true, where the store takes If-None-Match with a PUT. What got no
  /// answer is asked again, and told from another's by its text. Throws FileError; the object may
  /// then be there or not.
  bool create_once(const std::filesystem::path& path, const std::string& text);

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_STORE_S3_ENV_H_
