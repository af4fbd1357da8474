// Which HDF5: the one built with and the one loaded.
#ifndef MUSTER_CHECKPOINT_HDF5_VERSIONS_H_
#define MUSTER_CHECKPOINT_HDF5_VERSIONS_H_

#include <string>

namespace muster::checkpoint {

struct Hdf5Versions {
  std::string built;   ///< "1.10.8"
  std::string loaded;  ///< HDF5 ends the process at its first use where this is another.
};

/// Any thread. Does not block.
Hdf5Versions hdf5_versions();

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_HDF5_VERSIONS_H_
