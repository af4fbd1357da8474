// Joins the checkpoint store (which knows no ranks) and the communicator (which knows no files):
// saves and restores an engine.
#ifndef MUSTER_TRAINER_SRC_CHECKPOINT_SAVER_H_
#define MUSTER_TRAINER_SRC_CHECKPOINT_SAVER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint_upload.h"
#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/base/rank_env.h"
#include "muster/checkpoint/async_writer.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/restore_source.h"
#include "muster/checkpoint/retention.h"
#include "muster/trainer/engine.h"
#include "run_directory.h"
#include "snapshot_taker.h"

namespace muster::internal {

struct SaveOptions {
  checkpoint::Retention retention{};
  std::int64_t failures_allowed = 0;  ///< In a row.
  /// A rank's part of more is written while the step waits.
  std::int64_t most_staging_bytes = std::numeric_limits<std::int64_t>::max();
  bool fresh = false;        ///< Move aside what is in the directory.
  bool snapshots = false;    ///< In the memory that the launcher holds.
  std::string upload_url{};  ///< Where checkpoints are copied to; empty: nowhere.
};

/// A save: every rank copies its part and goes on training while a background thread writes it;
/// once every rank has written (the trainer counts that in a collective at each step's end) rank 0
/// gathers the records and commits in the background. Each rank stores its shards and an even
/// part of what all hold, so the files are of about one size.
///
/// A save that fails on any rank fails on all: as a CheckpointError that names the checkpoint and,
/// first, the rank; or, while no more than `failures_allowed` in a row have failed, as a warning
/// with which training goes on.
class CheckpointSaver {
 public:
  using Check = CheckpointUpload::Check;
  using OnCommitted = std::function<void(std::int64_t step, const std::filesystem::path& path)>;

  /// Collective. Rank 0 locks and prepares the directory. Throws as RunDirectory does.
  CheckpointSaver(std::filesystem::path directory, const RankEnv& rank_env,
                  Communicator& communicator, const SaveOptions& options, OnCommitted on_committed);

  /// Collective. Fills the engine's state from the newest snapshot or checkpoint that is whole;
  /// returns its run state, or nothing where there is none. `check` sees the run state before
  /// anything is changed and throws to refuse it. Bytes are checked as they are read, each rank
  /// those that it needs (of what all need, a part): where one finds damage, the checkpoint is set
  /// aside and the one before read over it. Throws CheckpointError where there is none before it.
  std::optional<Json> restore(Engine& engine, const Check& check);

  /// What restore() restored was a snapshot: it is on no disk.
  bool restored_snapshot() const { return restored_snapshot_; }

  /// With SaveOptions::snapshots, once restore() was called; a collective lies between two calls.
  /// Copies this rank's part into the launcher's memory. Blocks for the copy. Throws
  /// CheckpointError.
  void snapshot(Engine& engine, std::int64_t step, const Json& run_state);

  /// Collective. Whether there is a checkpoint of `step`.
  bool has(std::int64_t step);
  /// Collective, with no save in flight. Fills the engine's state from the checkpoint of `step`.
  /// Throws CheckpointError where it is not there, or damaged.
  void load(Engine& engine, std::int64_t step);

  /// Collective. Starts a save; first settles the one before. Blocks for the copy (and for that).
  /// Retention never gives up the checkpoint of `best_step`.
  void start(Engine& engine, std::int64_t step, Json run_state,
             std::optional<std::int64_t> best_step);

  /// Whether the writing of this rank's part of the save in flight has ended, well or not. Never
  /// blocks.
  bool part_ended();
  /// Collective. Once that is so on every rank: hands the save to rank 0's commit, or says on all
  /// ranks what failed.
  void commit();
  /// Rank 0: reports a finished commit. Never blocks; a no-op elsewhere. Returns whether it, or an
  /// upload, failed: settle() is due.
  bool poll();
  /// Collective. Blocks until a commit that runs has ended; says on all ranks what failed.
  void settle();
  /// Collective. Blocks until no save is in flight; as settle().
  void settle_all();
  /// The steps whose saves failed since the last call; the same on every rank.
  std::vector<std::int64_t> take_failed_steps() { return std::exchange(failed_steps_, {}); }
  /// Collective. Blocks until no save is in flight. What failed now is not forgiven: the last save
  /// of a run is its result.
  void finish();

 private:
  void begin_snapshots(const std::optional<checkpoint::SnapshotId>& restored);
  const checkpoint::SnapshotMemory* snapshot_memory() const;  // nullptr: no snapshots
  void end_part();
  std::string next_state(std::optional<checkpoint::TierSearch>& search, const Check& check);
  void settle_commit();
  void retain_again();
  void tell_staging();
  void fail(const std::string& message);
  void discard();
  void report(const checkpoint::Committed& committed);

  std::unique_ptr<Env> env_;
  checkpoint::CheckpointStore store_;
  RankEnv rank_env_;
  Communicator& communicator_;
  RunDirectory run_directory_;  // locked for longer than anything below writes
  checkpoint::AsyncWriter writer_;
  checkpoint::Retention retention_;
  std::int64_t failures_allowed_;
  OnCommitted on_committed_;
  std::optional<CheckpointUpload> upload_;
  std::optional<SnapshotTaker> snapshots_;
  bool restored_snapshot_ = false;

  bool in_flight_ = false;   // parts are being written; the same on every rank
  bool unsettled_ = false;   // a commit whose end not all ranks know of; the same on every rank
  bool committing_ = false;  // rank 0 only
  std::int64_t step_ = 0;
  Json run_state_;
  std::optional<checkpoint::ShardWritten> written_;
  std::string part_error_;     // of this rank's part
  std::string commit_error_;   // rank 0 only
  std::int64_t failures_ = 0;  // in a row; the same on every rank
  std::vector<std::int64_t> failed_steps_;
  bool staging_told_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_CHECKPOINT_SAVER_H_
