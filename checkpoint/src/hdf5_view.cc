// Virtual datasets, laid out by libhdf5 in memory.
#include "hdf5_view.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "flat_boxes.h"
#include "hdf5_objects.h"
#include "hdf5_skeleton.h"
#include "muster/base/crc32c.h"
#include "muster/checkpoint/layout.h"

namespace muster::checkpoint::internal {
namespace {

using Dims = std::vector<hsize_t>;

Dims dims_of(const std::vector<std::int64_t>& sizes) { return {sizes.begin(), sizes.end()}; }

Hdf5Handle space_of(const Dims& dims) {
  return Hdf5Handle(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
                    "H5Screate_simple");
}

/// In names of sources HDF5 reads "%%" as '%'.
std::string source_name(const TensorRange& range) {
  std::string name;
  for (const char c : dataset_path(range)) name += c == '%' ? std::string("%%") : std::string(1, c);
  return name;
}

void select(const Hdf5Handle& space, const Dims& start, const Dims& count) {
  check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                                 nullptr),
             "H5Sselect_hyperslab");
}

/// Shows the piece `range` of `file` where it belongs in a dataset of `shape`.
void add_mapping(const Hdf5Handle& properties, const std::vector<std::int64_t>& shape,
                 const std::string& file, const TensorRange& range) {
  const std::string path = source_name(range);
  const Hdf5Handle shown = space_of(dims_of(shape));
  const Hdf5Handle source = piece_dataspace(range);
  const auto map = [&] {
    check_hdf5(
        H5Pset_virtual(properties.get(), shown.get(), file.c_str(), path.c_str(), source.get()),
        "H5Pset_virtual");
  };
  if (range.numel() == checked_numel(range.name, range.dtype, shape)) return map();
  std::int64_t at = 0;
  for (const Box& box : boxes_of(range.begin, range.end, shape)) {
    select(shown, dims_of(box.start), dims_of(box.count));
    select(source, dims_of({at}), dims_of({box.numel()}));
    map();
    at += box.numel();
  }
}

void add_tensor(hid_t file, hid_t links, const Manifest& manifest, const std::string& name,
                const TensorEntry& entry) {
  const std::string path = "/" + link_name(name);
  TensorRange range{name, entry.dtype, entry.shape, 0, entry.numel()};
  if (entry.shape.empty()) {  // no dataspace that could be virtual
    const auto holds = [](const Piece& one) { return one.begin < one.end; };
    const Piece& piece = *std::find_if(entry.pieces.begin(), entry.pieces.end(), holds);
    const std::string& source = manifest.files[static_cast<std::size_t>(piece.file)].file;
    check_hdf5(H5Lcreate_external(source.c_str(), dataset_path(range).c_str(), file, path.c_str(),
                                  links, H5P_DEFAULT),
               "H5Lcreate_external");
    return;
  }
  // More dimensions than HDF5 has are shown flat.
  std::vector<std::int64_t> shape = entry.shape;
  if (shape.size() > H5S_MAX_RANK) shape = {entry.numel()};
  const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_obj_track_times(properties.get(), false), "H5Pset_obj_track_times");
  for (const Piece& piece : entry.pieces) {
    if (piece.begin == piece.end) continue;
    range.begin = piece.begin;
    range.end = piece.end;
    add_mapping(properties, shape, manifest.files[static_cast<std::size_t>(piece.file)].file,
                range);
  }
  const Hdf5Handle type = hdf5_type(entry.dtype);
  const Hdf5Handle space = space_of(dims_of(shape));
  const Hdf5Handle dataset(
      H5Dcreate2(file, path.c_str(), type.get(), space.get(), links, properties.get(), H5P_DEFAULT),
      H5Dclose, "H5Dcreate2");
  add_text(dataset.get(), "dtype", std::string(dtype_name(entry.dtype)));
}

std::vector<std::int64_t> lay_out(const std::string& path, const Manifest& manifest) {
  Hdf5Handle file = create_hdf5_file(path, H5F_LIBVER_V110);
  const Hdf5Handle root(H5Gopen2(file.get(), "/", H5P_DEFAULT), H5Gclose, "H5Gopen2");
  add_number(root.get(), "muster_format_version", kFormatVersion);
  add_number(root.get(), "step", manifest.step);
  const Hdf5Handle links = utf8_links();
  for (const auto& [name, entry] : manifest.tensors)
    add_tensor(file.get(), links.get(), manifest, name, entry);
  file.close("H5Fclose");
  return {};
}

}  // namespace

ManifestFile write_view(const Manifest& manifest, const std::filesystem::path& directory,
                        Env& env) {
  const Hdf5Skeleton skeleton([&](const std::string& path) { return lay_out(path, manifest); });
  std::vector<std::byte> bytes(static_cast<std::size_t>(skeleton.file_bytes()));
  skeleton.read(0, skeleton.file_bytes(), bytes.data());
  const auto file = env.create_file(directory / kViewFile);
  file->write_at(0, bytes.data(), bytes.size());
  file->sync();
  file->close();
  return {kViewFile, skeleton.file_bytes(), crc32c(bytes.data(), bytes.size())};
}

}  // namespace muster::checkpoint::internal
