// What must be equal for two processes to compute the same bits, set alike and written down.
#ifndef MUSTER_TRAINER_SRC_NUMERICS_H_
#define MUSTER_TRAINER_SRC_NUMERICS_H_

#include "muster/base/json.h"

namespace muster::internal {

/// Before any other use of LibTorch in this process: sets the threads of a parallel region and
/// keeps flush-to-zero off. Throws ConfigError when OpenMP would not give a region its threads
/// (oneDNN then waits for ever for the missing one).
void prepare_numerics(int threads);

/// The numerics fingerprint: machine class, threads, LibTorch and kernel versions, environment that
/// changes results.
Json numerics_fingerprint();

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_NUMERICS_H_
