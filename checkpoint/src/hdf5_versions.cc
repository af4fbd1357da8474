// Which HDF5 this is.
#include "muster/checkpoint/hdf5_versions.h"

#include <H5public.h>

namespace muster::checkpoint {
namespace {

std::string dotted(unsigned major, unsigned minor, unsigned release) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

}  // namespace

Hdf5Versions hdf5_versions() {
  unsigned major = 0, minor = 0, release = 0;
  const bool told = H5get_libversion(&major, &minor, &release) >= 0;
  return {dotted(H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE),
          told ? dotted(major, minor, release) : ""};
}

}  // namespace muster::checkpoint
