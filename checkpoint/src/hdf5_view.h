// model.h5: the whole tensors of a checkpoint, for everything that reads HDF5.
#ifndef MUSTER_CHECKPOINT_SRC_HDF5_VIEW_H_
#define MUSTER_CHECKPOINT_SRC_HDF5_VIEW_H_

#include <filesystem>

#include "muster/base/env.h"
#include "muster/checkpoint/manifest.h"

namespace muster::checkpoint::internal {

/// Writes kViewFile into `directory` and makes its bytes durable: a file without data of its own,
/// whose virtual datasets show each tensor in its shape out of the ranks' files beside it. Throws
/// CheckpointError where libhdf5 fails; FileErrors come through.
ManifestFile write_view(const Manifest& manifest, const std::filesystem::path& directory, Env& env);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_HDF5_VIEW_H_
