// How much memory a rank needs for a model at a ZeRO stage and world size.
#ifndef MUSTER_TRAINER_MEMORY_PLAN_H_
#define MUSTER_TRAINER_MEMORY_PLAN_H_

#include <cstdint>

#include "muster/trainer/engine_options.h"

namespace torch::nn {
class Module;
}

namespace muster {

/// Bytes that a rank holds between two steps. At stage 3 each rank counts the parameters that it
/// owns; with EngineOptions::replicate_between_nodes there is the rank's part of its node's copy
/// besides.
struct MemoryUse {
  std::int64_t parameters = 0;  ///< Frozen ones and buffers too.
  std::int64_t gradients = 0;
  /// With the average of weights, the masters of kBFloat16, and what offloading keeps besides.
  std::int64_t optimizer = 0;

  /// More during a step, at stage 3 where ranks do not share memory, or train on GPUs: the blocks
  /// of parameters that are held at once, EngineOptions::prefetch_units + 2 of them. Not in
  /// total().
  std::int64_t blocks = 0;

  std::int64_t total() const { return parameters + gradients + optimizer; }
};

/// What an Engine with these options will hold on the rank that holds most; the module is read
/// only. Throws ConfigError for parameters that the Engine would refuse.
MemoryUse plan_memory(torch::nn::Module& module, const EngineOptions& options, int world_size);

}  // namespace muster

#endif  // MUSTER_TRAINER_MEMORY_PLAN_H_
