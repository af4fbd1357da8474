// The aligned buffer, and the slices that threads share.
#include "block_writer.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>

#include "muster/base/check.h"
#include "muster/base/crc32c.h"
#include "muster/base/log.h"
#include "muster/checkpoint/shard_record.h"
#include "shared_tasks.h"

namespace muster::checkpoint::internal {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

/// A part of a body, of whole chunks unless it is the last.
Body slice_of(const Body& body, std::int64_t begin) {
  Body slice = body;
  slice.data += begin;
  slice.offset_bytes += begin;
  slice.chunk_crc32c += begin / kChunkBytes;
  const bool last = begin + kSliceBytes >= body.body_bytes;
  slice.body_bytes = last ? body.body_bytes - begin : kSliceBytes;
  slice.range_bytes = last ? body.range_bytes - begin : kSliceBytes;
  return slice;
}

std::vector<Body> slices_of(const std::vector<Body>& bodies) {
  std::vector<Body> slices;
  for (const Body& body : bodies) {
    for (std::int64_t begin = 0; begin < body.body_bytes; begin += kSliceBytes) {
      slices.push_back(slice_of(body, begin));
    }
  }
  return slices;
}

void write_slice(const Body& slice, const WaitForBytes& wait_for_bytes, WritableFile& file) {
  if (wait_for_bytes) wait_for_bytes(slice.data + slice.range_bytes);
  std::uint32_t* checksum = slice.chunk_crc32c;
  for (std::int64_t at = 0; at < slice.range_bytes; at += kChunkBytes) {
    const std::int64_t bytes = std::min(kChunkBytes, slice.range_bytes - at);
    *checksum++ = crc32c(slice.data + at, static_cast<std::size_t>(bytes));
  }
  file.write_at(static_cast<std::uint64_t>(slice.offset_bytes), slice.data,
                static_cast<std::size_t>(slice.body_bytes));
}

const std::byte* last_byte_of(const std::vector<Body>& slices) {
  return slices.back().data + slices.back().range_bytes;
}

}  // namespace

BlockWriter::BlockWriter(WritableFile& file) : file_(file), buffer_(kBufferBytes) {}

void BlockWriter::append(const std::byte* data, std::size_t bytes) {
  while (bytes > 0) {
    const std::size_t part = std::min(bytes, kBufferBytes - filled_);
    std::memcpy(buffer_.data() + filled_, data, part);
    filled_ += part;
    data += part;
    bytes -= part;
    if (filled_ == kBufferBytes) flush();
  }
}

void BlockWriter::go_to(std::uint64_t offset_bytes) {
  MUSTER_CHECK_EQ(offset_bytes % kDirectBlockBytes, 0u);
  flush();
  offset_ = offset_bytes;
}

void BlockWriter::flush() {
  if (filled_ == 0) return;
  file_.write_at(offset_, buffer_.data(), filled_);
  offset_ += filled_;
  filled_ = 0;
}

void write_bodies(const std::vector<Body>& bodies, const WaitForBytes& wait_for_bytes,
                  WritableFile& file) {
  const std::vector<Body> slices = slices_of(bodies);
  share_tasks(slices.size(), threads_for(slices.size()), [&](std::size_t i, std::size_t thread) {
    // While a step waits for the copy, one thread beside it is enough.
    if (thread > 0 && wait_for_bytes) wait_for_bytes(last_byte_of(slices));
    write_slice(slices[i], wait_for_bytes, file);
  });
}

void tell_once_if_not_direct(const std::filesystem::path& path, const WritableFile& file) {
  const std::string reason = file.not_direct_because();
  if (reason.empty()) return;
  static std::once_flag told;
  std::call_once(told, [&] {
    MUSTER_LOG(INFO) << "checkpoints in " << path.parent_path().parent_path().string()
                     << " are written through the page cache, not by direct I/O: " << reason;
  });
}

}  // namespace muster::checkpoint::internal
