// Which MPI: the one built with and the one loaded.
#ifndef MUSTER_COLLECTIVES_MPI_VERSIONS_H_
#define MUSTER_COLLECTIVES_MPI_VERSIONS_H_

#include <string>

namespace muster {

struct MpiVersions {
  std::string built;               ///< "Open MPI 5.0.11"; empty: this build has no MPI.
  std::string loaded;              ///< The first words of what the library says of itself.
  bool survives_failures = false;  ///< Built with ULFM (Open MPI 5).
};

/// Any thread, before MPI is started too. Does not block.
MpiVersions mpi_versions();

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_MPI_VERSIONS_H_
