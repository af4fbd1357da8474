// The structure of one rank's HDF5 file, laid out by libhdf5 in memory: where each dataset's bytes
// belong, and all bytes around them. libhdf5 never touches the disk, where its failures are known
// to crash or to go unreported.
#ifndef MUSTER_CHECKPOINT_SRC_HDF5_SKELETON_H_
#define MUSTER_CHECKPOINT_SRC_HDF5_SKELETON_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// Attributes of the file's root group.
struct FileIdentity {
  std::int64_t step = 0;
  int generation = 0;
  int rank = 0;
  int world_size = 1;
};

/// "/tensors/" + link_name() + "@begin:end".
std::string dataset_path(const TensorRange& range);

/// A tensor's name as a link in a group: '/' as %2F and '%' as %25.
std::string link_name(const std::string& tensor);

class Hdf5Skeleton {
 public:
  /// Lays the file out at a path and returns the offsets of its datasets.
  using LayOut = std::function<std::vector<std::int64_t>(const std::string& path)>;

  /// Of any structure. Throws CheckpointError as below.
  explicit Hdf5Skeleton(const LayOut& lay_out);
  /// `ranges` have passed check_range() and are distinct. Memory needed: the structure only,
  /// whatever the data's size. Throws CheckpointError when libhdf5 or the memory file fails. Holds
  /// libhdf5's process-wide lock for some 80 microseconds a range.
  Hdf5Skeleton(const FileIdentity& identity, const std::vector<TensorRange>& ranges);
  /// Of a file for others: each of the whole `tensors` under link_name() in the root group, without
  /// attributes. The rest as above.
  explicit Hdf5Skeleton(const std::vector<TensorRange>& tensors);
  ~Hdf5Skeleton();
  Hdf5Skeleton(const Hdf5Skeleton&) = delete;
  Hdf5Skeleton& operator=(const Hdf5Skeleton&) = delete;

  std::int64_t file_bytes() const { return file_bytes_; }
  /// Of each range, in the order given; 0 for one without elements.
  const std::vector<std::int64_t>& offsets_bytes() const { return offsets_bytes_; }
  /// Structure bytes at `offset_bytes`, which must lie between the ranges.
  void read(std::int64_t offset_bytes, std::int64_t bytes, std::byte* out) const;

 private:
  int memory_fd_ = -1;
  std::int64_t file_bytes_ = 0;
  std::vector<std::int64_t> offsets_bytes_;
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_HDF5_SKELETON_H_
