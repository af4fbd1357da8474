// A complete snapshot as a directory of files, so that what reads checkpoints on disk reads it too.
#ifndef MUSTER_CHECKPOINT_SNAPSHOT_ENV_H_
#define MUSTER_CHECKPOINT_SNAPSHOT_ENV_H_

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/snapshot_memory.h"

namespace muster::checkpoint {

/// Read-only: what would write throws FileError (EROFS). `Checkpoint::open(env.directory(), env)`
/// is the snapshot.
class SnapshotEnv : public Env {
 public:
  /// Puts the manifest together from the parts' texts. `memory` must outlive this. Throws
  /// CheckpointError where a part is not there, or its text damaged; data is checked when read.
  SnapshotEnv(const SnapshotMemory& memory, const SnapshotId& id);

  /// "snapshot of step 12 (memory)": a name for messages.
  const std::filesystem::path& directory() const { return directory_; }

  std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& path) override;
  std::vector<std::string> list_directory(const std::filesystem::path& path) override;
  bool exists(const std::filesystem::path& path) override;
  std::chrono::system_clock::time_point now() override;

  std::unique_ptr<WritableFile> create_file(const std::filesystem::path& path) override;
  void create_directories(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove_all(const std::filesystem::path& path) override;

 private:
  const SnapshotMemory& memory_;
  std::filesystem::path directory_;
  std::string manifest_text_;
  std::map<std::string, SnapshotPart> parts_;  // by file name
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_SNAPSHOT_ENV_H_
