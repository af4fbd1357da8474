// One rank's snapshots, in the memory that the launcher holds.
#ifndef MUSTER_TRAINER_SRC_SNAPSHOT_TAKER_H_
#define MUSTER_TRAINER_SRC_SNAPSHOT_TAKER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "muster/base/json.h"
#include "muster/base/rank_env.h"
#include "muster/checkpoint/snapshot_memory.h"
#include "muster/trainer/engine.h"

namespace muster::internal {

class SnapshotTaker {
 public:
  /// Throws ConfigError where the launcher holds no such memory.
  explicit SnapshotTaker(const RankEnv& rank_env);

  const checkpoint::SnapshotMemory& memory() const { return *memory_; }

  /// What the state was restored from, where that is a snapshot: it stays until the next is
  /// complete. Before the first take().
  void begin(const std::optional<checkpoint::SnapshotId>& restored);
  /// A collective lies between two calls. Copies this rank's part. Blocks for the copy. Throws
  /// CheckpointError.
  void take(Engine& engine, std::int64_t step, const Json& run_state);
  /// Rank 0: says what the copies cost.
  void tell() const;

 private:
  RankEnv rank_env_;
  std::unique_ptr<checkpoint::SnapshotMemory> memory_;
  std::optional<checkpoint::SnapshotWriter> writer_;
  std::int64_t taken_ = 0;
  std::chrono::duration<double> time_{0};  // of all copies together
  std::chrono::duration<double> longest_{0};
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_SNAPSHOT_TAKER_H_
