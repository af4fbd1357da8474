// Stands for MPI in builds without it.
#ifndef MUSTER_HAS_MPI
#include "mpi_runtime.h"
#include "muster/base/error.h"
#include "muster/collectives/mpi_versions.h"

namespace muster::internal {

std::unique_ptr<MpiRuntime> MpiRuntime::start(const RankEnv& env) {
  throw ConfigError("MPI: expected a build with MPI for " + env.description() +
                    ", found one without; start the ranks with muster run, or build with "
                    "-DMUSTER_MPI=ON");
}

}  // namespace muster::internal

namespace muster {
MpiVersions mpi_versions() { return {}; }
}  // namespace muster
#endif  // MUSTER_HAS_MPI
