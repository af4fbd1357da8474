// The invariants of a manifest, checked alike when one is made and when one is read.
#ifndef MUSTER_CHECKPOINT_SRC_MANIFEST_CHECKS_H_
#define MUSTER_CHECKPOINT_SRC_MANIFEST_CHECKS_H_

#include <string>
#include <vector>

#include "muster/checkpoint/manifest.h"

namespace muster::checkpoint::internal {

/// A piece in the order of its file, with the tensor it belongs to.
struct PlacedPiece {
  const std::string* tensor = nullptr;
  const TensorEntry* entry = nullptr;
  const Piece* piece = nullptr;

  std::int64_t bytes() const { return (piece->end - piece->begin) * dtype_bytes(entry->dtype); }
};

/// For each file its pieces that have bytes, by offset.
std::vector<std::vector<PlacedPiece>> pieces_by_file(const Manifest& manifest);

/// Sorts each tensor's pieces and throws CheckpointError beginning with `origin` unless: files are
/// named by rank; every piece lies within its file; no two share a byte; each tensor's pieces cover
/// each element exactly once.
void sort_and_check(Manifest& manifest, const std::string& origin);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_MANIFEST_CHECKS_H_
