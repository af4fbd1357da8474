// Files of Hugging Face's safetensors format: an untrusted reader and a durable writer, both with
// bounded memory.
#ifndef MUSTER_CHECKPOINT_SAFETENSORS_H_
#define MUSTER_CHECKPOINT_SAFETENSORS_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/dtype.h"
#include "muster/base/env.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

/// Where a tensor lies in a safetensors file.
struct SafetensorsEntry {
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  std::int64_t offset_bytes = 0;  ///< From the file's start.
  std::int64_t bytes = 0;
};

/// A safetensors file opened for reading. The format (huggingface/safetensors, README) is: u64
/// bytes of the header, little-endian; the header, a JSON object of name -> {dtype, shape,
/// data_offsets} and perhaps "__metadata__", text -> text; the tensors' bytes, little-endian and
/// row-major, from the header's end to the file's without holes or overlap.
///
/// Holds the header, never data. Cheap to copy. Any thread. A file that is not one, is damaged or
/// lies about itself is a CheckpointError that names the file, what was expected, what was found
/// and what to do; it has no checksums, so a changed byte of a tensor goes unseen.
class SafetensorsFile {
 public:
  /// Reads and checks the header. Refused, as by the reference implementation: an empty or
  /// truncated file, trailing bytes, a header over 100 MB or not of UTF-8, anything else than the
  /// fields above, unknown dtypes, metadata that is not text, shapes that overflow or do not fit
  /// their offsets, reversed offsets, holes and overlaps; and, beyond it, a name given twice and
  /// dtypes that checkpoints do not have (unsigned 16 to 64 bits, 8-bit floats, complex). Blocks.
  static SafetensorsFile open(const std::filesystem::path& path, Env& env);

  const std::filesystem::path& path() const { return path_; }
  /// In name order (bytes compared as unsigned).
  const std::map<std::string, SafetensorsEntry>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The tensor `name` as a range. Throws CheckpointError when the file has none.
  TensorRange whole(const std::string& name) const;

  /// Fills `out` (range.bytes() bytes) with the elements of `range`. Blocks. Throws CheckpointError
  /// when there is no such tensor, when it has another dtype or shape (both named), or when the
  /// file cannot be read.
  void read(const TensorRange& range, void* out) const;

 private:
  SafetensorsFile() = default;

  std::filesystem::path path_;
  std::shared_ptr<const ReadableFile> file_;
  std::map<std::string, SafetensorsEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Puts the elements of `range` at `out`, which is aligned to an element.
using RangeReader = std::function<void(const TensorRange& range, void* out)>;

/// Writes `tensors` (whole ones) and `metadata` to `path`: the bytes depend on nothing else, and
/// are the reference implementation's. `read` is asked for each tensor's elements once, in the
/// file's order (large elements first, then by name), a few MiB at a time: no more is held in
/// memory. When this returns the file survives a power cut; when it throws, `path` is as it was.
/// Throws CheckpointError naming the tensor or the path, and what `read` throws. Blocks.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorRange> tensors,
                       const std::map<std::string, std::string>& metadata, const RangeReader& read,
                       Env& env);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_SAFETENSORS_H_
