// --micro-batch auto: into which micro-batches a logical rank's samples of a step are cut.
#ifndef MUSTER_TRAINER_SRC_MICRO_BATCH_CHOICE_H_
#define MUSTER_TRAINER_SRC_MICRO_BATCH_CHOICE_H_

#include <cstdint>
#include <functional>

#include "muster/collectives/world.h"
#include "muster/trainer/trainer.h"

namespace muster::internal {

struct MicroBatchChoice {
  std::int64_t micro_batch = 0;       ///< 0: not even one sample fits.
  std::int64_t bytes = 0;             ///< That a rank needs with it.
  std::int64_t next_micro_batch = 0;  ///< The smallest above it that does not fit; 0: all do.
  std::int64_t next_bytes = 0;        ///< Measured, or by extrapolation.
};

/// What a rank needs with micro-batches of one size.
struct MicroBatchNeeds {
  using Bytes = std::function<std::int64_t(std::int64_t micro_batch)>;
  Bytes planned;   ///< By count; it may fall where accumulation ends.
  Bytes measured;  ///< Grows with the micro-batch.
};

/// The largest divisor of `samples` with which a rank needs `budget_bytes` at most. Sizes are
/// measured in ascending order; never one that, on the line through the two before it, would not
/// fit.
MicroBatchChoice choose_micro_batch(std::int64_t samples, std::int64_t budget_bytes,
                                    const MicroBatchNeeds& needs);

/// Collective. Replaces `micro_batch` 0 in the trainer's options, and `accumulation_steps`: by
/// those that the run has had so far, by its checkpoint or its job's file, else by what
/// `--memory-gib` has room for on every rank. The global batch stays. Throws ConfigError when
/// nothing fits.
void resolve_micro_batch(Trainer& trainer, World& world);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_MICRO_BATCH_CHOICE_H_
