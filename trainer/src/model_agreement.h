// Whether every rank has built the same model.
#ifndef MUSTER_TRAINER_SRC_MODEL_AGREEMENT_H_
#define MUSTER_TRAINER_SRC_MODEL_AGREEMENT_H_

#include "module_tensors.h"
#include "muster/collectives/communicator.h"

namespace muster::internal {

/// Collective. Throws ConfigError on the lowest rank whose tensors are not rank 0's in number,
/// order, name, shape, dtype and part in training, naming the first that differs; FailedElsewhere
/// on the others.
void check_same_model(const ModuleTensors& tensors, Communicator& communicator);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_MODEL_AGREEMENT_H_
