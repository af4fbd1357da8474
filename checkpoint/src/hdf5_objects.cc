// libhdf5's calls, with the settings that all of Muster's files share.
#include "hdf5_objects.h"

#include <string>
#include <vector>

#include "muster/base/error.h"

namespace muster::checkpoint::internal {
namespace {

// Datasets of a page or more start on a page, for the sake of direct and mapped I/O; smaller ones
// are packed.
constexpr hsize_t kPageBytes = 4096;
// One block of the file for all small metadata, rather than crumbs between the datasets.
constexpr hsize_t kMetadataBlockBytes = 64 << 10;

Hdf5Handle custom_float(size_t bytes, size_t exponent_bits, size_t mantissa_bits, size_t bias) {
  Hdf5Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, "H5Tcopy");
  const size_t sign_position = exponent_bits + mantissa_bits;
  check_hdf5(
      H5Tset_fields(type.get(), sign_position, mantissa_bits, exponent_bits, 0, mantissa_bits),
      "H5Tset_fields");
  check_hdf5(H5Tset_size(type.get(), bytes), "H5Tset_size");
  check_hdf5(H5Tset_ebias(type.get(), bias), "H5Tset_ebias");
  return type;
}

// What h5py writes for numpy's bool.
Hdf5Handle bool_type() {
  Hdf5Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose, "H5Tenum_create");
  for (const signed char value : {0, 1}) {
    check_hdf5(H5Tenum_insert(type.get(), value == 0 ? "FALSE" : "TRUE", &value), "H5Tenum_insert");
  }
  return type;
}

Hdf5Handle copied(hid_t type) { return Hdf5Handle(H5Tcopy(type), H5Tclose, "H5Tcopy"); }

}  // namespace

Hdf5Handle hdf5_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return copied(H5T_IEEE_F32LE);
    case DType::kFloat64:
      return copied(H5T_IEEE_F64LE);
    case DType::kFloat16:
      return custom_float(2, 5, 10, 15);
    case DType::kBFloat16:
      return custom_float(2, 8, 7, 127);
    case DType::kInt8:
      return copied(H5T_STD_I8LE);
    case DType::kInt16:
      return copied(H5T_STD_I16LE);
    case DType::kInt32:
      return copied(H5T_STD_I32LE);
    case DType::kInt64:
      return copied(H5T_STD_I64LE);
    case DType::kUInt8:
      return copied(H5T_STD_U8LE);
    case DType::kBool:
      return bool_type();
  }
  throw InternalError("expected a known dtype, found number " +
                      std::to_string(static_cast<int>(dtype)));
}

Hdf5Handle piece_dataspace(const TensorRange& range) {
  const std::int64_t numel = checked_numel(range.name, range.dtype, range.shape);
  const bool whole = range.begin == 0 && range.end == numel && range.shape.size() <= H5S_MAX_RANK;
  if (whole && range.shape.empty()) {
    return Hdf5Handle(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  }
  std::vector<hsize_t> dims = {static_cast<hsize_t>(range.numel())};
  if (whole) dims.assign(range.shape.begin(), range.shape.end());
  return Hdf5Handle(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
                    "H5Screate_simple");
}

void add_attribute(hid_t object, const char* name, hid_t file_type, hid_t memory_type, hid_t space,
                   const void* value) {
  const Hdf5Handle attribute(H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT),
                             H5Aclose, "H5Acreate2");
  check_hdf5(H5Awrite(attribute.get(), memory_type, value), "H5Awrite");
}

void add_number(hid_t object, const char* name, std::int64_t value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  add_attribute(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, space.get(), &value);
}

void add_text(hid_t object, const char* name, const std::string& value) {
  const Hdf5Handle type = copied(H5T_C_S1);
  check_hdf5(H5Tset_size(type.get(), value.size()), "H5Tset_size");
  check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "H5Tset_strpad");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset");
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  add_attribute(object, name, type.get(), type.get(), space.get(), value.data());
}

Hdf5Handle utf8_links() {
  Hdf5Handle properties(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_char_encoding(properties.get(), H5T_CSET_UTF8), "H5Pset_char_encoding");
  return properties;
}

Hdf5Handle create_hdf5_file(const std::string& path, H5F_libver_t oldest) {
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  // Not the default driver: it resolves symbolic links, and one to a memory file leads nowhere. Nor
  // the core driver: it would allocate and clear the whole file.
  check_hdf5(H5Pset_fapl_stdio(access.get()), "H5Pset_fapl_stdio");
  // From 1.8 on with checksums of HDF5's own in its metadata.
  check_hdf5(H5Pset_libver_bounds(access.get(), oldest, oldest), "H5Pset_libver_bounds");
  check_hdf5(H5Pset_alignment(access.get(), kPageBytes, kPageBytes), "H5Pset_alignment");
  check_hdf5(H5Pset_meta_block_size(access.get(), kMetadataBlockBytes), "H5Pset_meta_block_size");
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "H5Pset_obj_track_times");
  return Hdf5Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose,
                    "H5Fcreate");
}

}  // namespace muster::checkpoint::internal
