// Snapshots: every rank's state in memory that outlives the rank. A copy is sealed when it is
// whole; a snapshot is complete when every rank's copy is.
#ifndef MUSTER_CHECKPOINT_SNAPSHOT_MEMORY_H_
#define MUSTER_CHECKPOINT_SNAPSHOT_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/checkpoint/shard_record.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

/// A snapshot: of the state after `step`, taken by the world of `generation`.
struct SnapshotId {
  std::int64_t step = 0;
  int generation = 0;
  int world_size = 0;

  bool operator==(const SnapshotId&) const = default;
};

/// A rank's part of a snapshot, whose copy was finished.
struct SnapshotPart {
  SnapshotId id;
  int rank = 0;
  int slot = 0;  ///< 0 or 1.
  std::int64_t data_bytes = 0;
  std::int64_t text_bytes = 0;
  std::uint32_t text_crc32c = 0;
};

/// The snapshots of which every rank's part is among `parts`: newest step first, then newest
/// generation. Pure.
std::vector<SnapshotId> complete_snapshots(const std::vector<SnapshotPart>& parts);

/// Two slots for each rank of a node, in one sealed, sparse memfd: what was not written takes no
/// memory, and all of it goes with the last process that has it open. The launcher creates it and
/// keeps it over generations; ranks attach(). Bytes go in and out by system calls, never through a
/// mapping, so no stray pointer of a dying rank can reach them.
///
/// A slot: 4 KiB of header, the data, a text (docs/checkpoint_format.md). Any process; each rank
/// writes to its own slots alone.
class SnapshotMemory {
 public:
  /// Throws InternalError naming the system call that failed.
  static std::unique_ptr<SnapshotMemory> create();
  /// Checks seals and size; throws ConfigError when `fd` is not such a memory. Takes ownership of
  /// `fd` when it returns.
  static std::unique_ptr<SnapshotMemory> attach(int fd);
  ~SnapshotMemory();
  SnapshotMemory(const SnapshotMemory&) = delete;
  SnapshotMemory& operator=(const SnapshotMemory&) = delete;

  int fd() const { return fd_; }

  /// Headers alone are read; one that is not whole is not sealed.
  std::vector<SnapshotPart> sealed_parts() const;

  /// Copies `sources` into the slot with their checksums, then seals it; what was there is gone
  /// from the first moment. `text` comes back as part_text(). Blocks. Throws CheckpointError when
  /// there is no memory for it, or a range is wrong.
  void write(const SnapshotId& id, int rank, int slot, std::span<const SourceRange> sources,
             const Json& run_state);
  /// What write() stored beside the data: {"record": ShardRecord, "run_state": ...}. Throws
  /// CheckpointError where its checksum is wrong.
  Json part_text(const SnapshotPart& part) const;
  /// Reads up to `bytes` of a part's data. Throws FileError.
  std::size_t read_at(const SnapshotPart& part, std::uint64_t offset, void* out,
                      std::size_t bytes) const;

  /// Gives the memory of ranks `first_rank` and above back.
  void release_ranks_from(int first_rank) const;

 private:
  explicit SnapshotMemory(int fd) : fd_(fd) {}

  void write_at(std::uint64_t offset, const void* data, std::size_t bytes) const;
  ShardRecord copy(const SnapshotId& id, int rank, std::uint64_t begin,
                   std::span<const SourceRange> sources) const;

  int fd_;
};

/// One rank's snapshots, from now on to its end. It writes to the slot that does not hold the
/// newest one that may be complete, so a rank that dies while it copies costs that copy alone.
///
/// That is so because a rank begins its copy of a step only when all ranks have finished that of
/// the step before: the caller is in step with them, by any collective between two calls.
class SnapshotWriter {
 public:
  /// `restored` is what the rank goes on from, when that is a snapshot: it is kept until the next
  /// one is complete. `memory` must outlive the writer.
  SnapshotWriter(SnapshotMemory& memory, int rank, int world_size, int generation,
                 const std::optional<SnapshotId>& restored);

  /// Blocks for the copy. Throws CheckpointError.
  void write(std::int64_t step, std::span<const SourceRange> sources, const Json& run_state);

 private:
  SnapshotMemory& memory_;
  int rank_;
  int world_size_;
  int generation_;
  int next_slot_ = 0;
  std::int64_t written_ = 0;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_SNAPSHOT_MEMORY_H_
