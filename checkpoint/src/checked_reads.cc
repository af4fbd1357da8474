// A file's wanted chunks are gathered into slices, each one read; threads share the slices. A slice
// passes through a buffer of its thread: direct I/O needs its alignment, huge pages make it fast,
// and what is damaged never gets further.
#include "checked_reads.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "aligned_memory.h"
#include "chunks.h"
#include "file_errors.h"
#include "muster/base/crc32c.h"
#include "shared_tasks.h"

namespace muster::checkpoint::internal {
namespace {

constexpr std::int64_t kBlockBytes = kDirectBlockBytes;
// Skipping less than this costs more than reading it.
constexpr std::int64_t kGapBytes = 64 << 10;

std::int64_t blocks_down(std::int64_t bytes) { return bytes / kBlockBytes * kBlockBytes; }
std::int64_t blocks_up(std::int64_t bytes) { return blocks_down(bytes + kBlockBytes - 1); }

/// A chunk of a piece, of which something is wanted.
struct WantedChunk {
  const WantedBytes* wanted;
  std::int64_t index;  // in the piece

  std::int64_t piece_begin() const { return index * kChunkBytes; }
  std::int64_t piece_end() const {
    return std::min(piece_begin() + kChunkBytes, wanted->placed.bytes());
  }
  std::int64_t file_begin() const { return wanted->placed.piece->offset_bytes + piece_begin(); }
  std::int64_t file_end() const { return wanted->placed.piece->offset_bytes + piece_end(); }
  std::uint32_t expected() const {
    return wanted->placed.piece->chunk_crc32c[static_cast<std::size_t>(index)];
  }
};

using Chunks = std::vector<WantedChunk>;

/// Neighbours in the file.
struct Slice {
  Chunks chunks;
  std::int64_t begin;  // in the file
  std::int64_t end;
};

Chunks chunks_of(const std::vector<WantedBytes>& wanted) {
  Chunks chunks;
  for (const WantedBytes& one : wanted) {
    for (std::int64_t at = one.begin_bytes / kChunkBytes; at * kChunkBytes < one.end_bytes; ++at) {
      chunks.push_back({&one, at});
    }
  }
  std::sort(chunks.begin(), chunks.end(), [](const WantedChunk& a, const WantedChunk& b) {
    return a.file_begin() < b.file_begin();
  });
  return chunks;
}

std::vector<Slice> slices_of(const Chunks& chunks) {
  std::vector<Slice> slices;
  for (const WantedChunk& chunk : chunks) {
    const bool near = !slices.empty() && chunk.file_begin() - slices.back().end <= kGapBytes &&
                      chunk.file_end() - slices.back().begin <= kSliceBytes;
    if (!near) slices.push_back({{}, chunk.file_begin(), chunk.file_end()});
    slices.back().chunks.push_back(chunk);
    slices.back().end = std::max(slices.back().end, chunk.file_end());
  }
  return slices;
}

class FileReader {
 public:
  FileReader(const FileReads& reads, AtDamage at_damage, Env& env)
      : reads_(reads), at_damage_(at_damage), buffers_(kMostThreads) {
    collect("", 0, [&] {
      file_ = with_read_errors("reading checkpoint file",
                               [&] { return env.open_large_file(reads_.path); });
      require_size();
    });
  }

  std::vector<Problem> read() {
    if (file_ == nullptr || stopped()) return std::move(problems_);
    const std::vector<Slice> slices = slices_of(chunks_of(reads_.wanted));
    // The many small reads of the structure come first, beside the first slices.
    const std::size_t first_slice = reads_.pieces != nullptr ? 1 : 0;
    const std::size_t tasks = first_slice + slices.size();
    share_tasks(tasks, threads_for(slices.size()), [&](std::size_t task, std::size_t thread) {
      if (stopped()) return;
      std::byte* buffer = buffer_of(thread);
      if (task < first_slice) {
        check_structure(buffer);
      } else {
        read_slice(slices[task - first_slice], buffer);
      }
    });
    std::sort(problems_.begin(), problems_.end(),
              [](const Problem& a, const Problem& b) { return a.offset_bytes < b.offset_bytes; });
    return std::move(problems_);
  }

 private:
  bool stopped() const { return damaged_ && at_damage_ == AtDamage::kStop; }

  std::byte* buffer_of(std::size_t thread) {
    AlignedMemory& buffer = buffers_[thread];
    if (buffer.bytes() == 0) buffer = AlignedMemory(kSliceBytes + 2 * kBlockBytes);
    return buffer.data();
  }

  void add_problem(const std::string& tensor, std::int64_t offset_bytes, std::string message) {
    const std::lock_guard lock(mutex_);
    problems_.push_back({reads_.expected->file, tensor, offset_bytes, std::move(message)});
    damaged_ = true;
  }

  /// Runs `check` and keeps its CheckpointError as a problem; what decides nothing passes through.
  /// Returns whether all was well.
  template <typename Check>
  bool collect(const std::string& tensor, std::int64_t offset_bytes, Check&& check) {
    try {
      check();
      return true;
    } catch (const Undecided&) {
      throw;
    } catch (const CheckpointError& error) {
      add_problem(tensor, offset_bytes, error.what());
      return false;
    }
  }

  void require_size() {
    const auto found = static_cast<std::int64_t>(file_->size_bytes());
    const std::int64_t expected = reads_.expected->bytes;
    if (found == expected) return;
    add_problem("", std::min(found, expected),
                reads_.path.string() + ": expected " + std::to_string(expected) + " bytes, found " +
                    std::to_string(found));
  }

  std::string place_of(const WantedChunk& chunk) const {
    return reads_.path.string() + ": tensor '" + *chunk.wanted->placed.tensor + "'";
  }

  /// Bytes [begin, end) of the file come to the returned address, as far as the file has them.
  const std::byte* fetch(const std::string& place, std::int64_t begin, std::int64_t end,
                         std::byte* buffer, std::int64_t* end_found) const {
    const std::int64_t first = blocks_down(begin);
    const std::size_t bytes = with_read_errors(place, [&] {
      return file_->read_at(static_cast<std::uint64_t>(first), buffer,
                            static_cast<std::size_t>(blocks_up(end) - first));
    });
    *end_found = std::min(end, first + static_cast<std::int64_t>(bytes));
    return buffer + (begin - first);
  }

  void read_slice(const Slice& slice, std::byte* buffer) {
    const WantedChunk& first = slice.chunks.front();
    std::int64_t end_found = 0;
    const std::byte* data = nullptr;
    try {
      data = fetch(place_of(first), slice.begin, slice.end, buffer, &end_found);
    } catch (const Undecided&) {
      throw;
    } catch (const CheckpointError& error) {
      if (slice.chunks.size() == 1) {
        add_problem(*first.wanted->placed.tensor, first.file_begin(), error.what());
        return;
      }
      // Which of them cannot be read?
      for (const WantedChunk& chunk : slice.chunks) {
        read_slice({{chunk}, chunk.file_begin(), chunk.file_end()}, buffer);
      }
      return;
    }
    for (const WantedChunk& chunk : slice.chunks) {
      collect(*chunk.wanted->placed.tensor, chunk.file_begin(),
              [&] { take_chunk(chunk, data + (chunk.file_begin() - slice.begin), end_found); });
    }
  }

  void take_chunk(const WantedChunk& chunk, const std::byte* data, std::int64_t end_found) const {
    const std::int64_t bytes = chunk.file_end() - chunk.file_begin();
    require_bytes(place_of(chunk), chunk.file_begin(), bytes, end_found - chunk.file_begin());
    check_chunk(place_of(chunk), chunk.file_begin(), data, bytes, chunk.expected());
    const WantedBytes& wanted = *chunk.wanted;
    if (wanted.out == nullptr) return;
    const std::int64_t begin = std::max(wanted.begin_bytes, chunk.piece_begin());
    const std::int64_t end = std::min(wanted.end_bytes, chunk.piece_end());
    std::memcpy(wanted.out + (begin - wanted.begin_bytes), data + (begin - chunk.piece_begin()),
                static_cast<std::size_t>(end - begin));
  }

  void check_structure(std::byte* buffer) {
    const std::string place = reads_.path.string() + ": structure (all bytes outside of tensors)";
    collect("", 0, [&] {
      std::uint32_t checksum = 0;
      const auto add = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t at = begin; at < end; at += kSliceBytes) {
          const std::int64_t stop = std::min(at + kSliceBytes, end);
          std::int64_t end_found = 0;
          const std::byte* data = fetch(place, at, stop, buffer, &end_found);
          require_bytes(place, at, stop - at, end_found - at);
          checksum = crc32c(data, static_cast<std::size_t>(stop - at), checksum);
        }
      };
      std::int64_t at = 0;
      for (const PlacedPiece& placed : *reads_.pieces) {
        add(at, placed.piece->offset_bytes);
        at = placed.piece->offset_bytes + placed.bytes();
      }
      add(at, reads_.expected->bytes);
      if (checksum == reads_.expected->structure_crc32c) return;
      throw CheckpointError(place + ": its crc32c is wrong: the file is damaged");
    });
  }

  const FileReads& reads_;
  const AtDamage at_damage_;
  std::unique_ptr<ReadableFile> file_;
  std::vector<AlignedMemory> buffers_;  // by thread
  std::mutex mutex_;
  std::vector<Problem> problems_;  // under the mutex
  std::atomic<bool> damaged_{false};
};

}  // namespace

std::vector<Problem> read_checked(const FileReads& reads, AtDamage at_damage, Env& env) {
  return FileReader(reads, at_damage, env).read();
}

}  // namespace muster::checkpoint::internal
