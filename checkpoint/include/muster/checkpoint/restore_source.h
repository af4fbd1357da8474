// Which state a run goes on from: the newest that is complete everywhere and intact, in memory or
// on disk.
#ifndef MUSTER_CHECKPOINT_RESTORE_SOURCE_H_
#define MUSTER_CHECKPOINT_RESTORE_SOURCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/restore_search.h"
#include "muster/checkpoint/snapshot_memory.h"
#include "muster/checkpoint/tiers.h"

namespace muster::checkpoint {

/// A state that a rank reads, whatever tier it lies in.
class RestoreSource {
 public:
  /// Throws CheckpointError. `memory` (for Tier::kMemory) and `env` must outlive the source.
  RestoreSource(const TierState& state, const CheckpointStore& store, const SnapshotMemory* memory,
                Env& env);

  const TierState& state() const { return state_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  /// The snapshot that this is, if it is one.
  std::optional<SnapshotId> snapshot() const;
  /// The checkpoint's path, or "snapshot of step 12 (memory)".
  std::string name() const { return checkpoint_->directory().string(); }

 private:
  TierState state_;
  std::unique_ptr<Env> snapshot_env_;  // in memory alone
  std::optional<Checkpoint> checkpoint_;
};

/// The step of another checkpoint without which a state is of no use; nothing where there is none.
using NeededStep = std::function<std::optional<std::int64_t>(const Json& run_state)>;

/// Rank 0: from the newest state of either tier to the oldest, until one is whole; used as
/// RestoreSearch is. Of memory (nullptr: none) only snapshots of generations before `generation`
/// count, and only such as have on disk what they need: a best checkpoint that was not saved in
/// time can come from nowhere else.
class TierSearch {
 public:
  /// Lists what there is. `store`, `env` and `memory` must outlive the search.
  TierSearch(const CheckpointStore& store, Env& env, const SnapshotMemory* memory, int generation,
             NeededStep needed_step);

  /// The newest state not given out yet, of one step the nearest: a checkpoint with a sound
  /// manifest whose bytes are for who restores to check, or a snapshot all of whose bytes are
  /// right. A snapshot that is not used is named in a warning. Throws as RestoreSearch::next()
  /// does.
  std::optional<TierState> next();

  /// What was given out last is damaged: it is named in a warning and, on disk, set aside.
  void reject(const std::string& damage);

 private:
  std::string problem_of(const SnapshotId& id) const;
  bool memory_is_next() const;

  const SnapshotMemory* memory_;
  NeededStep needed_step_;
  std::vector<Info> listed_;  // on disk
  RestoreSearch search_;
  std::optional<Checkpoint> on_disk_;  // found and not given out
  bool disk_ended_ = false;
  std::vector<SnapshotId> snapshots_;  // not given out, the newest first
  TierState last_;
};

/// For the way to the other ranks.
std::string to_text(const TierState& state);
TierState tier_state_from_text(const std::string& text);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_RESTORE_SOURCE_H_
