// The manifest of a checkpoint: every tensor, the pieces it is stored in, and a checksum for every
// byte.
#ifndef MUSTER_CHECKPOINT_MANIFEST_H_
#define MUSTER_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "muster/base/dtype.h"
#include "muster/base/json.h"
#include "muster/checkpoint/shard_record.h"

namespace muster::checkpoint {

inline constexpr int kFormatVersion = 2;
inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kViewFile = "model.h5";

/// One stored range of a tensor.
struct Piece {
  int file = 0;  ///< Index into Manifest::files.
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t offset_bytes = 0;
  std::vector<std::uint32_t> chunk_crc32c;
};

struct TensorEntry {
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  std::vector<Piece> pieces;  ///< By `begin`; together they cover each element exactly once.

  std::int64_t numel() const;
  std::int64_t bytes() const { return numel() * dtype_bytes(dtype); }
};

struct ManifestFile {
  std::string file;
  std::int64_t bytes = 0;
  std::uint32_t structure_crc32c = 0;
};

/// A manifest that exists has been checked: every number is in bounds, no pieces overlap, none is
/// missing.
struct Manifest {
  std::string muster_version;  ///< Of the program that wrote it: "0.1.0".
  std::int64_t step = 0;
  int generation = 0;                          ///< Of the world that wrote it.
  int world_size = 0;                          ///< Of the world that wrote it.
  std::map<std::string, TensorEntry> tensors;  ///< In name order (bytes compared as unsigned).
  std::vector<ManifestFile> files;             ///< By rank; then kViewFile, if there is one.
  Json run_state;  ///< The trainer's: "progress" (part of the state hash), "job", "circumstances".

  /// Of all tensors.
  std::int64_t tensor_bytes() const;

  /// Builds it from the records of all ranks. Throws CheckpointError naming the tensor or rank when
  /// a record is missing or twice there, ranks disagree about a tensor, or ranges overlap or leave
  /// a gap.
  static Manifest from_records(std::int64_t step, int generation,
                               const std::vector<ShardRecord>& records, Json run_state);
  /// The file's text: JSON whose last member is the checksum of all bytes before it.
  std::string to_text() const;
  /// Throws CheckpointError naming `origin` (the manifest's path) when the checksum is wrong, the
  /// format is not one that this build reads, or any number is out of bounds.
  static Manifest from_text(std::string_view text, const std::string& origin);
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_MANIFEST_H_
