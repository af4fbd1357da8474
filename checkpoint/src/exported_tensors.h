// The tensors that an export writes, under their new names and dtypes.
#ifndef MUSTER_CHECKPOINT_SRC_EXPORTED_TENSORS_H_
#define MUSTER_CHECKPOINT_SRC_EXPORTED_TENSORS_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "muster/checkpoint/export.h"

namespace muster::checkpoint::internal {

/// Reads from a checkpoint, which must outlive it, what a file written from it is to hold.
class ExportedTensors {
 public:
  /// Throws CheckpointError when the checkpoint has nothing to export.
  ExportedTensors(const Checkpoint& checkpoint, const ExportOptions& options);

  /// Whole tensors, by name.
  const std::vector<TensorRange>& tensors() const { return tensors_; }
  /// Fills `out` with a range of one of tensors().
  void read(const TensorRange& range, void* out);
  Exported result() const;

 private:
  /// `stored` is the name in the checkpoint.
  void add(const std::string& name, const std::string& stored, const TensorEntry& entry);

  const Checkpoint& checkpoint_;
  ExportOptions options_;
  std::vector<TensorRange> tensors_;
  std::map<std::string, std::string> stored_names_;
  std::map<std::string, std::int64_t> overflows_;
  std::vector<std::byte> unconverted_;
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_EXPORTED_TENSORS_H_
