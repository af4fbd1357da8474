// Which MPI this is.
#ifdef MUSTER_HAS_MPI
#include "muster/collectives/mpi_versions.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <array>

namespace muster {

MpiVersions mpi_versions() {
  MpiVersions versions;
#if defined(OPEN_MPI)
  versions.built = "Open MPI " + std::to_string(OMPI_MAJOR_VERSION) + "." +
                   std::to_string(OMPI_MINOR_VERSION) + "." + std::to_string(OMPI_RELEASE_VERSION);
#else
  versions.built = "MPI " + std::to_string(MPI_VERSION) + "." + std::to_string(MPI_SUBVERSION);
#endif
#if defined(OMPI_HAVE_MPI_EXT_FTMPI)
  versions.survives_failures = OMPI_HAVE_MPI_EXT_FTMPI != 0;
#endif
  // "Open MPI v5.0.11, package: ...": what is before the first comma or line's end.
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  versions.loaded = std::string(text.data(), static_cast<std::size_t>(length));
  versions.loaded.resize(std::min(versions.loaded.size(), versions.loaded.find_first_of(",\n")));
  if (const std::size_t v = versions.loaded.find(" v"); v != std::string::npos) {
    versions.loaded.erase(v + 1, 1);
  }
  return versions;
}

}  // namespace muster
#endif  // MUSTER_HAS_MPI
