// How bytes get from memory to a large file: whole blocks straight from where they lie, by two
// threads with their checksums; the rest through a small aligned buffer.
#ifndef MUSTER_CHECKPOINT_SRC_BLOCK_WRITER_H_
#define MUSTER_CHECKPOINT_SRC_BLOCK_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "aligned_memory.h"
#include "muster/base/env.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint::internal {

/// Appends at a moving place. Small writes are gathered, so that a thousand small tensors are not a
/// thousand system calls, and so that blocks are whole.
class BlockWriter {
 public:
  /// `file` must outlive it.
  explicit BlockWriter(WritableFile& file);
  void append(const std::byte* data, std::size_t bytes);
  /// What follows belongs at `offset_bytes`, a multiple of kDirectBlockBytes.
  void go_to(std::uint64_t offset_bytes);
  /// Before the end; an unflushed rest is lost.
  void flush();

 private:
  WritableFile& file_;
  AlignedMemory buffer_;
  std::size_t filled_ = 0;
  std::uint64_t offset_ = 0;  // of the buffer's first byte
};

/// A range of a tensor whose leading blocks are written from where they lie.
struct Body {
  const std::byte* data = nullptr;        ///< At a multiple of kDirectBlockBytes.
  std::int64_t body_bytes = 0;            ///< To be written: whole blocks.
  std::int64_t range_bytes = 0;           ///< To be checksummed: a last part of a block may follow.
  std::int64_t offset_bytes = 0;          ///< Where in the file: a multiple of kDirectBlockBytes.
  std::uint32_t* chunk_crc32c = nullptr;  ///< One for each chunk of the range.
};

/// Writes all bodies and fills in their checksums, each part's just before it is written and after
/// `wait_for_bytes`, where there is one. Several threads when there is enough to do, so that one
/// can compute while others wait for the disk. Throws the first FileError.
void write_bodies(const std::vector<Body>& bodies, const WaitForBytes& wait_for_bytes,
                  WritableFile& file);

/// Logs, once in a process, that a file which was to be written past the page cache was not.
void tell_once_if_not_direct(const std::filesystem::path& path, const WritableFile& file);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_BLOCK_WRITER_H_
