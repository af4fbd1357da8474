// Training that begins with weights of somewhere else.
#ifndef MUSTER_TRAINER_SRC_INITIAL_WEIGHTS_H_
#define MUSTER_TRAINER_SRC_INITIAL_WEIGHTS_H_

#include <map>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/tensor_range.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine.h"

namespace muster::internal {

/// By name, whole.
using NamedTensors = std::map<std::string, checkpoint::TensorRange>;

/// A line for each tensor that `model` has and `found` has not, the other way round, or that has
/// another shape or a dtype that cannot be converted; none for names that match one of the comma
/// separated patterns `allowed`. Pure.
std::vector<std::string> misfits(const NamedTensors& model, const NamedTensors& found,
                                 const std::string& allowed);

/// Collective. What `path` means to rank 0 (checkpoint::ModelWeights::find): another run may save
/// in a directory of checkpoints meanwhile, and each rank would find another newest one. Blocks.
/// Throws what finding throws on rank 0, FailedElsewhere on all others.
std::string find_initial_weights(Communicator& communicator, const std::string& path, Env& env);

/// Fills parameters and buffers from `path` (checkpoint::ModelWeights::open), each rank what it
/// holds; Engine::state_changed() is the caller's to call. What misfits() lets pass keeps its
/// values. Blocks. Throws ConfigError that names all that does not fit, CheckpointError when
/// reading fails: the same on every rank.
void load_initial_weights(Engine& engine, const std::string& path, const std::string& allowed,
                          Env& env);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_INITIAL_WEIGHTS_H_
