// A directory of checkpoints: shards are written, committed as one, listed, verified and retired
// here.
#ifndef MUSTER_CHECKPOINT_CHECKPOINT_STORE_H_
#define MUSTER_CHECKPOINT_CHECKPOINT_STORE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/retention.h"
#include "muster/checkpoint/shard_record.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

/// A `step-NNNNNNNN` directory.
struct Info {
  std::int64_t step = 0;
  std::filesystem::path path;
  /// Its manifest is sound and says this step, and every file it names is there with its size.
  /// Bytes are not read.
  bool complete = false;
};

/// The protocol (docs/checkpoint_format.md): every rank calls write_shard(); when all have
/// returned, rank 0 calls commit() with all records. Before commit() renames the directory there is
/// no checkpoint; after it has returned the checkpoint survives a power cut. The store calls no
/// collective: gathering is the caller's.
///
/// All calls block. Everything is thread-safe except that prepare(), commit(), retain() and
/// newest_valid() are for one caller at a time, on rank 0. All throw CheckpointError naming the
/// path and the cause.
class CheckpointStore {
 public:
  /// Touches nothing. `env` must outlive the store.
  CheckpointStore(std::filesystem::path directory, Env& env);

  const std::filesystem::path& directory() const { return directory_; }

  /// Rank 0, before any save and while no other run uses the directory: creates it, proves that it
  /// can be written, finishes or removes what dead runs left behind.
  void prepare();

  /// Writes this rank's part of step `step` and makes it durable. Sources may be empty; a range may
  /// be. HDF5 lays the file out in memory; the bytes go to disk through Env, with checksums in the
  /// same pass. Where there is a `wait_for_bytes`, no byte is looked at before it has returned.
  ShardRecord write_shard(std::int64_t step, int generation, int rank, int world_size,
                          std::span<const SourceRange> sources,
                          const WaitForBytes& wait_for_bytes = nullptr) const;

  /// Rank 0: makes the shards of all ranks one checkpoint and removes attempts at it or at older
  /// steps. `records` in any order; together they must hold every element of each tensor exactly
  /// once. A committed checkpoint of the same step is replaced, at no time leaving neither. Returns
  /// the checkpoint's path. When it throws there is either no new checkpoint or, where only making
  /// its name durable failed, a whole one; never a part.
  std::filesystem::path commit(std::int64_t step, int generation,
                               const std::vector<ShardRecord>& records, Json run_state) const;

  /// Rank 0, when a save failed on some rank: removes what was written of it.
  void discard(std::int64_t step, int generation) const;

  /// All `step-NNNNNNNN` directories, by step; empty where the directory does not exist. Reads
  /// manifests only. Throws Undecided where nothing can be told about one (a store that does not
  /// answer, no permission, a newer format): it may be the newest.
  std::vector<Info> list() const;

  /// Deletes what `retention` gives up among the complete checkpoints, and returns their paths.
  /// First the newest is verified byte by byte (and set aside when damaged); the newest valid one
  /// is never deleted, nor is anything when there is none.
  std::vector<std::filesystem::path> retain(const Retention& retention) const;

  /// Deletes the checkpoints of `steps`, one that is not there aside, and returns their paths. What
  /// may go is the caller's to know: see retain() and newest_valid().
  std::vector<std::filesystem::path> remove(const std::vector<std::int64_t>& steps) const;

  /// The newest checkpoint all of whose bytes are right; nothing when there is none. Each damaged
  /// one on the way is named in a warning and set aside: renamed to `step-NNNNNNNN.damaged`
  /// (`.damaged-2`, ... when taken). Throws where nothing can be told about a newer one (no
  /// permission, a newer format): older state is never taken silently. Throws, too, where there are
  /// checkpoints and none can be read or set aside: a dying disk is no empty one.
  std::optional<Checkpoint> newest_valid() const;

 private:
  std::filesystem::path directory_;
  Env* env_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_CHECKPOINT_STORE_H_
