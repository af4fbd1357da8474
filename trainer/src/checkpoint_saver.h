// Joins the checkpoint store (which knows no ranks) and the communicator (which knows no files):
// saves and restores an engine.
#ifndef MUSTER_TRAINER_SRC_CHECKPOINT_SAVER_H_
#define MUSTER_TRAINER_SRC_CHECKPOINT_SAVER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/base/rank_env.h"
#include "muster/checkpoint/async_writer.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/retention.h"
#include "muster/trainer/engine.h"

namespace muster::internal {

/// What this rank holds of a state tensor, and where; its memory may be written to restore it.
/// Throws ConfigError for a dtype that checkpoints do not have.
checkpoint::SourceRange held_range(const StateTensor& tensor);

/// A save: every rank copies its part and goes on training while a background thread writes it;
/// once every rank has written (the trainer counts that in a collective at each step's end) rank 0
/// gathers the records and commits in the background. Each rank stores its shards and an even
/// part of what all hold, so the files are of about one size.
class CheckpointSaver {
 public:
  using OnCommitted = std::function<void(std::int64_t step, const std::filesystem::path& path)>;

  /// Collective. Rank 0 prepares the directory; `fresh` moves what is in it aside. Throws
  /// CheckpointError.
  CheckpointSaver(std::filesystem::path directory, const RankEnv& rank_env,
                  Communicator& communicator, checkpoint::Retention retention, bool fresh,
                  OnCommitted on_committed);

  /// Collective. Fills the engine's state from the newest valid checkpoint; returns its run state,
  /// or nothing where there is none. `check` sees the run state before anything is changed and
  /// throws to refuse it.
  std::optional<Json> restore(
      Engine& engine,
      const std::function<void(const Json& run_state, const std::string& origin)>& check);

  /// Collective, with no save in flight. Fills the engine's state from the checkpoint of `step`.
  /// Throws CheckpointError where it is not there, or damaged.
  void load(Engine& engine, std::int64_t step);

  /// Collective. Starts a save; first finishes the one before. Blocks for the copy (and for that).
  /// Retention never gives up the checkpoint of `best_step`.
  void start(Engine& engine, std::int64_t step, Json run_state,
             std::optional<std::int64_t> best_step);

  /// Whether this rank has written its part of the save in flight. Never blocks. Throws what
  /// writing threw.
  bool part_written();
  /// Collective. Once every rank's part is written: hands the save to rank 0's commit.
  void commit();
  /// Rank 0: reports a finished commit. Never blocks; a no-op elsewhere. Throws what committing
  /// threw.
  void poll();
  /// Collective. Blocks until no save is in flight.
  void finish();

 private:
  void move_aside();
  void read_into(Engine& engine, const checkpoint::Checkpoint& checkpoint, const std::string& path);
  void report(const checkpoint::Committed& committed);

  std::unique_ptr<Env> env_;
  checkpoint::CheckpointStore store_;
  checkpoint::AsyncWriter writer_;
  RankEnv rank_env_;
  Communicator& communicator_;
  checkpoint::Retention retention_;
  OnCommitted on_committed_;

  bool in_flight_ = false;   // parts are being written; the same on every rank
  bool committing_ = false;  // rank 0 only
  std::int64_t step_ = 0;
  Json run_state_;
  std::optional<checkpoint::ShardWritten> written_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_CHECKPOINT_SAVER_H_
