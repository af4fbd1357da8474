// Exact evaluation over ranks: every sample once, sums in tree order, the same bits at any world
// size.
#ifndef MUSTER_TRAINER_SRC_EVALUATION_H_
#define MUSTER_TRAINER_SRC_EVALUATION_H_

#include <cstdint>

#include "muster/collectives/communicator.h"
#include "muster/collectives/reduction_tree.h"
#include "muster/trainer/trainer.h"

namespace muster::internal {

/// Collective. Logical rank l of L takes samples [ceil(l*n/L), ceil((l+1)*n/L)) in batches of
/// `batch`. `model`, the trainer's, is in eval mode meanwhile and autograd is off; each logical
/// rank begins with its buffers as they are, and so they are in the end. Throws Mismatch when ranks
/// add metrics of different names.
MetricSums evaluate(Trainer& trainer, torch::nn::Module& model, const Dataset& dataset,
                    Communicator& communicator, int logical_ranks, std::int64_t batch);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_EVALUATION_H_
