// What of an engine's state a rank stores in a checkpoint, and how ranks read one together.
#ifndef MUSTER_TRAINER_SRC_CHECKPOINT_RANGES_H_
#define MUSTER_TRAINER_SRC_CHECKPOINT_RANGES_H_

#include <string>
#include <vector>

#include "host_state.h"
#include "muster/base/rank_env.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/tensor_range.h"
#include "muster/trainer/engine.h"

namespace muster::internal {

/// What this rank holds of a state tensor, and where; its memory may be written to restore it.
/// Throws ConfigError for a dtype that checkpoints do not have.
checkpoint::SourceRange held_range(const StateTensor& tensor);

/// What this rank stores of a state: its shards, and an even part of what all hold, so that files
/// are of about one size. `state` must outlive the result.
std::vector<checkpoint::SourceRange> stored_ranges(const HostState& state, const RankEnv& env);

/// Collective. Fills the engine's state; each rank reads what it needs, of what all need a part.
/// Returns the first damage that any rank met, on all of them; then the state is undefined. Empty:
/// the state is the checkpoint's. Throws CheckpointError where it has other tensors.
std::string read_into(Engine& engine, const RankEnv& env, Communicator& communicator,
                      const checkpoint::Checkpoint& checkpoint);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_CHECKPOINT_RANGES_H_
