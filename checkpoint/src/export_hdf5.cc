// Export for everything that reads HDF5: the structure from libhdf5 in memory, the data by plain
// writes.
#include <algorithm>
#include <vector>

#include "durable_files.h"
#include "exported_tensors.h"
#include "file_errors.h"
#include "hdf5_skeleton.h"
#include "muster/base/env.h"
#include "muster/checkpoint/export.h"
#include "muster/checkpoint/shard_record.h"

namespace muster::checkpoint {
namespace {

using internal::ExportedTensors;
using internal::Hdf5Skeleton;

std::vector<std::size_t> in_file_order(const ExportedTensors& tensors,
                                       const Hdf5Skeleton& skeleton) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < tensors.tensors().size(); ++i) {
    if (tensors.tensors()[i].numel() > 0) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return skeleton.offsets_bytes()[a] < skeleton.offsets_bytes()[b];
  });
  return order;
}

void write_structure(const Hdf5Skeleton& skeleton, std::int64_t begin, std::int64_t end,
                     WritableFile& file) {
  std::vector<std::byte> buffer;
  for (std::int64_t at = begin; at < end; at += kChunkBytes) {
    const std::int64_t bytes = std::min(kChunkBytes, end - at);
    buffer.resize(static_cast<std::size_t>(bytes));
    skeleton.read(at, bytes, buffer.data());
    file.write_at(static_cast<std::uint64_t>(at), buffer.data(), buffer.size());
  }
}

/// Returns where the tensor ends.
std::int64_t write_tensor(ExportedTensors& tensors, const TensorRange& tensor, std::int64_t offset,
                          WritableFile& file) {
  std::vector<std::byte> buffer(static_cast<std::size_t>(kChunkBytes));
  TensorRange part = tensor;
  for (std::int64_t at = 0; at < tensor.end; at = part.end) {
    part.begin = at;
    part.end = std::min(tensor.end, at + kChunkBytes / dtype_bytes(tensor.dtype));
    tensors.read(part, buffer.data());
    file.write_at(static_cast<std::uint64_t>(offset), buffer.data(),
                  static_cast<std::size_t>(part.bytes()));
    offset += part.bytes();
  }
  return offset;
}

}  // namespace

Exported export_hdf5(const Checkpoint& checkpoint, const std::filesystem::path& path,
                     const ExportOptions& options, Env& env) {
  ExportedTensors tensors(checkpoint, options);
  const Hdf5Skeleton skeleton(tensors.tensors());
  internal::with_file_errors("writing " + path.string(), [&] {
    internal::replace_file(path, env, [&](WritableFile& file) {
      std::int64_t at = 0;
      for (const std::size_t i : in_file_order(tensors, skeleton)) {
        const std::int64_t offset = skeleton.offsets_bytes()[i];
        write_structure(skeleton, at, offset, file);
        at = write_tensor(tensors, tensors.tensors()[i], offset, file);
      }
      write_structure(skeleton, at, skeleton.file_bytes(), file);
    });
  });
  return tensors.result();
}

}  // namespace muster::checkpoint
