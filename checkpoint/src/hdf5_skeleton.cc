// libhdf5 over a sparse memory file.
#include "hdf5_skeleton.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "hdf5_handles.h"
#include "muster/base/error.h"
#include "muster/checkpoint/manifest.h"

namespace muster::checkpoint::internal {
namespace {

// Datasets of a page or more start on a page, for the sake of direct and mapped I/O; smaller ones
// are packed.
constexpr hsize_t kPageBytes = 4096;
// One block of the file for all small metadata, rather than crumbs between the datasets.
constexpr hsize_t kMetadataBlockBytes = 64 << 10;

[[noreturn]] void throw_memory_file(const char* call) {
  throw CheckpointError(std::string("laying out a checkpoint file in memory: ") + call +
                        " failed: " + errno_text(errno));
}

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

void add_shape(hid_t object, const std::vector<std::int64_t>& shape) {
  const hsize_t dims = shape.size();
  const Hdf5Handle space(H5Screate_simple(1, &dims, nullptr), H5Sclose, "H5Screate_simple");
  // A scalar's shape has no elements to write, but libhdf5 wants an address.
  const std::int64_t none = 0;
  add_attribute(object, "shape", H5T_STD_I64LE, H5T_NATIVE_INT64, space.get(),
                shape.empty() ? &none : shape.data());
}

// A whole tensor keeps its shape; a part of one is flat.
Hdf5Handle dataspace(const TensorRange& range) {
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

// Space is allocated at once and never filled: the dataset's bytes are ours to write.
Hdf5Handle dataset_properties() {
  Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_layout(properties.get(), H5D_CONTIGUOUS), "H5Pset_layout");
  check_hdf5(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time");
  check_hdf5(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time");
  // Times would make equal states give unequal files.
  check_hdf5(H5Pset_obj_track_times(properties.get(), false), "H5Pset_obj_track_times");
  return properties;
}

Hdf5Handle group_properties() {
  Hdf5Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_obj_track_times(properties.get(), false), "H5Pset_obj_track_times");
  return properties;
}

Hdf5Handle utf8_links() {
  Hdf5Handle properties(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_char_encoding(properties.get(), H5T_CSET_UTF8), "H5Pset_char_encoding");
  return properties;
}

Hdf5Handle create_dataset(hid_t file, const std::string& path, hid_t links, hid_t properties,
                          const TensorRange& range) {
  const Hdf5Handle type = hdf5_type(range.dtype);
  const Hdf5Handle space = dataspace(range);
  return Hdf5Handle(
      H5Dcreate2(file, path.c_str(), type.get(), space.get(), links, properties, H5P_DEFAULT),
      H5Dclose, "H5Dcreate2");
}

std::int64_t offset_of(const Hdf5Handle& dataset, const TensorRange& range) {
  if (range.numel() == 0) return 0;
  const haddr_t offset = H5Dget_offset(dataset.get());
  check_hdf5(offset == HADDR_UNDEF ? -1 : 0, "H5Dget_offset");
  return static_cast<std::int64_t>(offset);
}

std::int64_t add_piece(hid_t file, hid_t links, hid_t properties, const TensorRange& range) {
  const Hdf5Handle dataset = create_dataset(file, dataset_path(range), links, properties, range);
  add_text(dataset.get(), "tensor", range.name);
  add_text(dataset.get(), "dtype", std::string(dtype_name(range.dtype)));
  add_shape(dataset.get(), range.shape);
  add_number(dataset.get(), "begin", range.begin);
  add_number(dataset.get(), "end", range.end);
  return offset_of(dataset, range);
}

Hdf5Handle create_file(const std::string& path) {
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  // Not the default driver: it resolves symbolic links, and one to a memory file leads nowhere. Nor
  // the core driver: it would allocate and clear the whole file.
  check_hdf5(H5Pset_fapl_stdio(access.get()), "H5Pset_fapl_stdio");
  // Readable by every HDF5 since 1.8, and with checksums of HDF5's own in its metadata.
  check_hdf5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18),
             "H5Pset_libver_bounds");
  check_hdf5(H5Pset_alignment(access.get(), kPageBytes, kPageBytes), "H5Pset_alignment");
  check_hdf5(H5Pset_meta_block_size(access.get(), kMetadataBlockBytes), "H5Pset_meta_block_size");
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "H5Pset_obj_track_times");
  return Hdf5Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose,
                    "H5Fcreate");
}

void add_identity(hid_t file, const FileIdentity& identity) {
  const Hdf5Handle root(H5Gopen2(file, "/", H5P_DEFAULT), H5Gclose, "H5Gopen2");
  add_number(root.get(), "muster_format_version", kFormatVersion);
  add_number(root.get(), "step", identity.step);
  add_number(root.get(), "generation", identity.generation);
  add_number(root.get(), "rank", identity.rank);
  add_number(root.get(), "world_size", identity.world_size);
}

std::vector<std::int64_t> lay_out_shard(const std::string& path, const FileIdentity& identity,
                                        const std::vector<TensorRange>& ranges) {
  Hdf5Handle file = create_file(path);
  add_identity(file.get(), identity);
  const Hdf5Handle group_creation = group_properties();
  Hdf5Handle group(
      H5Gcreate2(file.get(), "/tensors", H5P_DEFAULT, group_creation.get(), H5P_DEFAULT), H5Gclose,
      "H5Gcreate2");
  group.close("H5Gclose");
  const Hdf5Handle links = utf8_links();
  const Hdf5Handle properties = dataset_properties();
  std::vector<std::int64_t> offsets_bytes;
  offsets_bytes.reserve(ranges.size());
  for (const TensorRange& range : ranges) {
    offsets_bytes.push_back(add_piece(file.get(), links.get(), properties.get(), range));
  }
  file.close("H5Fclose");
  return offsets_bytes;
}

std::vector<std::int64_t> lay_out_tensors(const std::string& path,
                                          const std::vector<TensorRange>& tensors) {
  Hdf5Handle file = create_file(path);
  const Hdf5Handle links = utf8_links();
  const Hdf5Handle properties = dataset_properties();
  std::vector<std::int64_t> offsets_bytes;
  offsets_bytes.reserve(tensors.size());
  for (const TensorRange& tensor : tensors) {
    const Hdf5Handle dataset = create_dataset(file.get(), "/" + link_name(tensor.name), links.get(),
                                              properties.get(), tensor);
    offsets_bytes.push_back(offset_of(dataset, tensor));
  }
  file.close("H5Fclose");
  return offsets_bytes;
}

}  // namespace

std::string link_name(const std::string& tensor) {
  std::string name;
  for (const char c : tensor) {
    if (c == '/') {
      name += "%2F";
    } else if (c == '%') {
      name += "%25";
    } else {
      name += c;
    }
  }
  // "." is the group itself.
  return name == "." ? "%2E" : name;
}

std::string dataset_path(const TensorRange& range) {
  return "/tensors/" + link_name(range.name) + "@" + std::to_string(range.begin) + ":" +
         std::to_string(range.end);
}

Hdf5Skeleton::Hdf5Skeleton(const LayOut& lay_out)
    : memory_fd_(memfd_create("muster-checkpoint-skeleton", MFD_CLOEXEC)) {
  if (memory_fd_ < 0) throw_memory_file("memfd_create");
  // For builds of libhdf5 without a lock of their own.
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const Hdf5ErrorsQuiet quiet;
  try {
    offsets_bytes_ = lay_out("/proc/self/fd/" + std::to_string(memory_fd_));
    struct stat info {};
    if (fstat(memory_fd_, &info) != 0) throw_memory_file("fstat");
    file_bytes_ = info.st_size;
  } catch (...) {
    close(memory_fd_);
    throw;
  }
}

Hdf5Skeleton::Hdf5Skeleton(const FileIdentity& identity, const std::vector<TensorRange>& ranges)
    : Hdf5Skeleton([&](const std::string& path) { return lay_out_shard(path, identity, ranges); }) {
}

Hdf5Skeleton::Hdf5Skeleton(const std::vector<TensorRange>& tensors)
    : Hdf5Skeleton([&](const std::string& path) { return lay_out_tensors(path, tensors); }) {}

Hdf5Skeleton::~Hdf5Skeleton() { close(memory_fd_); }

void Hdf5Skeleton::read(std::int64_t offset_bytes, std::int64_t bytes, std::byte* out) const {
  while (bytes > 0) {
    const ssize_t got = pread(memory_fd_, out, static_cast<std::size_t>(bytes), offset_bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw_memory_file("pread");
    out += got;
    offset_bytes += got;
    bytes -= got;
  }
}

}  // namespace muster::checkpoint::internal
