// libhdf5 over a sparse memory file.
#include "hdf5_skeleton.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "hdf5_objects.h"
#include "muster/base/error.h"
#include "muster/checkpoint/manifest.h"

namespace muster::checkpoint::internal {
namespace {

[[noreturn]] void throw_memory_file(const char* call) {
  throw CheckpointError(std::string("laying out a checkpoint file in memory: ") + call +
                        " failed: " + errno_text(errno));
}

void add_shape(hid_t object, const std::vector<std::int64_t>& shape) {
  const hsize_t dims = shape.size();
  const Hdf5Handle space(H5Screate_simple(1, &dims, nullptr), H5Sclose, "H5Screate_simple");
  // A scalar's shape has no elements to write, but libhdf5 wants an address.
  const std::int64_t none = 0;
  add_attribute(object, "shape", H5T_STD_I64LE, H5T_NATIVE_INT64, space.get(),
                shape.empty() ? &none : shape.data());
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

Hdf5Handle create_dataset(hid_t file, const std::string& path, hid_t links, hid_t properties,
                          const TensorRange& range) {
  const Hdf5Handle type = hdf5_type(range.dtype);
  const Hdf5Handle space = piece_dataspace(range);
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
  Hdf5Handle file = create_hdf5_file(path, H5F_LIBVER_V18);
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
  Hdf5Handle file = create_hdf5_file(path, H5F_LIBVER_V18);
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
