// The directory of a run's checkpoints: this run's alone while it lives.
#ifndef MUSTER_TRAINER_SRC_RUN_DIRECTORY_H_
#define MUSTER_TRAINER_SRC_RUN_DIRECTORY_H_

#include <optional>

#include "muster/base/env.h"
#include "muster/base/rank_env.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/directory_lock.h"
#include "muster/collectives/communicator.h"

namespace muster::internal {

/// In a run's directory: what its job is, for restarts before the first checkpoint.
inline constexpr const char* kJobFile = "job.json";
/// And the step at which the run ended, on_finished() included.
inline constexpr const char* kFinishedFile = "finished.json";

class RunDirectory {
 public:
  /// Collective. Rank 0 locks the store's directory, and holds it until this object goes; moves
  /// what is in it aside where `fresh` says so and the job begins; prepares the store. Waits for a
  /// run before this one to die. Throws ConfigError where another run lives in the directory,
  /// CheckpointError where it cannot be used.
  RunDirectory(checkpoint::CheckpointStore& store, Env& env, const RankEnv& rank_env,
               Communicator& communicator, bool fresh);

 private:
  std::optional<checkpoint::DirectoryLock> lock_;  // rank 0 only
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_RUN_DIRECTORY_H_
