// Reading much of a checkpoint's file at once: every byte comes from the disk once, and goes to its
// place only when its checksum holds.
#ifndef MUSTER_CHECKPOINT_SRC_CHECKED_READS_H_
#define MUSTER_CHECKPOINT_SRC_CHECKED_READS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "manifest_checks.h"
#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint::internal {

/// Bytes [begin_bytes, end_bytes) of a piece, counted from the piece's start, and the memory they
/// go to; nullptr where they are only to be checked.
struct WantedBytes {
  PlacedPiece placed;
  std::int64_t begin_bytes = 0;
  std::int64_t end_bytes = 0;
  std::byte* out = nullptr;
};

/// What is to be read of one file.
struct FileReads {
  std::filesystem::path path;
  const ManifestFile* expected = nullptr;
  std::vector<WantedBytes> wanted{};
  /// Where the bytes outside of tensors are to be checked too: all of the file's pieces, by offset.
  const std::vector<PlacedPiece>* pieces = nullptr;
};

enum class AtDamage { kStop, kGoOn };

/// Checks every chunk that is wanted in part, and copies what is wanted of it. Returns the damage
/// that was found: with kStop at least one place, with kGoOn all, by place. Several threads;
/// memory: 4 MiB each. Throws Undecided where nothing can be told.
std::vector<Problem> read_checked(const FileReads& reads, AtDamage at_damage, Env& env);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_CHECKED_READS_H_
