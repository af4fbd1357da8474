// The HDF5 objects that Muster's files are made of: types, spaces, attributes, links and files.
#ifndef MUSTER_CHECKPOINT_SRC_HDF5_OBJECTS_H_
#define MUSTER_CHECKPOINT_SRC_HDF5_OBJECTS_H_

#include <cstdint>
#include <string>

#include "hdf5_handles.h"
#include "muster/base/dtype.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// As docs/checkpoint_format.md has it. All throw CheckpointError where libhdf5 fails.
Hdf5Handle hdf5_type(DType dtype);

/// A whole tensor keeps its shape (up to H5S_MAX_RANK dimensions); a part of one is flat.
Hdf5Handle piece_dataspace(const TensorRange& range);

void add_attribute(hid_t object, const char* name, hid_t file_type, hid_t memory_type, hid_t space,
                   const void* value);
void add_number(hid_t object, const char* name, std::int64_t value);
void add_text(hid_t object, const char* name, const std::string& value);

/// For links whose names are UTF-8.
Hdf5Handle utf8_links();

/// A file that HDF5 since version `oldest` reads.
Hdf5Handle create_hdf5_file(const std::string& path, H5F_libver_t oldest);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_HDF5_OBJECTS_H_
