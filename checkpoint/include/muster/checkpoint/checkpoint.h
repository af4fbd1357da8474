// One committed checkpoint, opened for reading: any range of any tensor, its state hash, and a
// check of every byte.
#ifndef MUSTER_CHECKPOINT_CHECKPOINT_H_
#define MUSTER_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/manifest.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

/// Something wrong with a checkpoint, by place.
struct Problem {
  std::string file;               ///< Plain name in the checkpoint's directory.
  std::string tensor;             ///< Empty when no tensor's data is concerned.
  std::int64_t offset_bytes = 0;  ///< Where in the file the damage starts, to a chunk.
  std::string message;            ///< All of it as one sentence: expected, found.
};

/// The first problem's message and how many more there are; empty where there is none.
std::string summary(const std::vector<Problem>& problems);

/// One of several readers that load a checkpoint together.
struct Reader {
  int index = 0;
  int count = 1;
};

/// Sees the elements of a range, in memory that is the caller's again when it returns.
using ChunkVisitor = std::function<void(const TensorRange& range, const void* data)>;

/// Holds the manifest only; data is read from disk on demand with plain reads, never through HDF5,
/// and every byte is checked against its checksum before anyone sees it. Cheap to copy. Any thread.
class Checkpoint {
 public:
  /// Reads and checks `directory`/manifest.json, no data. `env` must outlive the checkpoint.
  /// Throws CheckpointError naming the file, what was expected and what was found.
  static Checkpoint open(const std::filesystem::path& directory, Env& env);

  const std::filesystem::path& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }

  /// Fills `out` (range.bytes() bytes) with the elements of `range`, assembled from whichever files
  /// hold them. Blocks. Throws CheckpointError when the checkpoint has no such tensor, has it with
  /// another dtype or shape (both named), or when bytes are missing or damaged (file, tensor and
  /// offset named); `out` is then undefined.
  void read(const TensorRange& range, void* out) const;

  /// Fills all targets in one pass over the files: each byte is read once, past the page cache
  /// where the file system takes that, and copied to its place only when its chunk's checksum
  /// holds. The bytes outside of tensors are divided over the readers and checked on the way, so
  /// readers whose targets together are all tensors have together done what verify() does. Returns
  /// damage, a place each (at least the first); then the targets are undefined, else they are
  /// filled. Blocks, on several threads; memory: 4 MiB a thread. Throws CheckpointError, before
  /// anything is read, where a target does not fit the checkpoint (as read() does), and where
  /// nothing can be told (permission, no free descriptor).
  std::vector<Problem> load(std::span<const TargetRange> targets, Reader reader) const;

  /// 32 hexadecimal digits over the names, dtypes, shapes and bytes of all tensors and
  /// run_state["progress"]: equal for equal states, whatever world size and sharding wrote them
  /// (docs/checkpoint_format.md has the definition). Reads all data. Blocks; throws as read() does.
  /// On the way `visit` is shown every element once, by name and in order, a MiB at a time.
  std::string state_hash(const ChunkVisitor& visit = nullptr) const;

  /// Reads every byte of every file and the manifest again. Empty means that all is well. Blocks.
  /// Damage is returned, a place each; throws CheckpointError only where nothing can be told
  /// (permission, no free descriptor).
  std::vector<Problem> verify() const;

 private:
  Checkpoint(std::filesystem::path directory, Manifest manifest, Env& env);

  std::filesystem::path directory_;
  Manifest manifest_;
  Env* env_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_CHECKPOINT_H_
