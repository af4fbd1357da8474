// zlib behind a reader that tells a damaged file from a finished one.
#include "input_stream.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kInputBytes = std::size_t{1} << 18;
constexpr Bytef kGzipFirstByte = 0x1f;
constexpr Bytef kGzipSecondByte = 0x8b;
// zlib writes and reads gzip headers when 16 is added to the window size (zlib.h, inflateInit2).
constexpr int kGzipWindowBits = 15 + 16;
// Deflate cannot shrink by more than 1032 : 1 (zlib, "Technical Details").
constexpr std::uint64_t kMaxDeflateRatio = 1032;

}  // namespace

std::unique_ptr<ReadableFile> open_data_file(const fs::path& path, Env& env) {
  std::error_code ignored;  // a path that cannot be examined fails to open, with a better message
  const fs::file_status status = fs::status(path, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw ConfigError(path.string() + ": expected a file; found " +
                      (fs::is_directory(status) ? "a directory" : "something else") +
                      ". Name the data file itself");
  }
  try {
    return env.open_file(path);
  } catch (const FileError& error) {
    const bool missing = error.errno_value() == ENOENT || error.errno_value() == ENOTDIR;
    throw ConfigError(path.string() + ": expected a data file that can be read; found: " +
                      errno_text(error.errno_value()) +
                      (missing ? ". Check the path, or install the data set there"
                               : ". Check the permissions of the file and its directories"));
  }
}

void throw_damaged(const fs::path& path, const std::string& expected, const std::string& found) {
  throw DataError(path.string() + ": expected " + expected + "; found " + found +
                  ". Get the file again from its source, or name another one");
}

struct InputStream::Inflater {
  Inflater() {
    const int status = inflateInit2(&stream, kGzipWindowBits);
    MUSTER_CHECK_EQ(status, Z_OK) << "inflateInit2: out of memory or a foreign zlib";
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
};

InputStream::InputStream(const fs::path& path, Env& env)
    : path_(path), file_(open_data_file(path, env)) {
  std::array<Bytef, 2> magic{};
  const std::size_t got = read_raw(magic.data(), magic.size());
  offset_ = 0;
  if (got < magic.size() || magic != std::array{kGzipFirstByte, kGzipSecondByte}) return;
  inflater_ = std::make_unique<Inflater>();
  input_.resize(kInputBytes);
}

InputStream::~InputStream() = default;

std::uint64_t InputStream::content_bytes_at_most() const {
  const std::uint64_t file_bytes = file_->size_bytes();
  if (!inflater_) return file_bytes;
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
  return file_bytes > kLargest / kMaxDeflateRatio ? kLargest : file_bytes * kMaxDeflateRatio;
}

std::size_t InputStream::read(void* out, std::size_t bytes) {
  const std::size_t got =
      inflater_ ? read_inflated(static_cast<std::byte*>(out), bytes) : read_raw(out, bytes);
  content_bytes_ += got;
  return got;
}

std::size_t InputStream::read_raw(void* out, std::size_t bytes) {
  try {
    const std::size_t got = file_->read_at(offset_, out, bytes);
    offset_ += got;
    return got;
  } catch (const FileError& error) {
    throw_damaged(
        path_, "to read " + std::to_string(bytes) + " bytes at offset " + std::to_string(offset_),
        errno_text(error.errno_value()));
  }
}

bool InputStream::refill() {
  const std::size_t got = read_raw(input_.data(), input_.size());
  inflater_->stream.next_in = reinterpret_cast<Bytef*>(input_.data());
  inflater_->stream.avail_in = static_cast<uInt>(got);
  return got > 0;
}

// A member has ended: what follows is the end of the file or another member.
void InputStream::finish_member() {
  z_stream& stream = inflater_->stream;
  if (stream.avail_in == 0 && !refill()) {
    at_end_ = true;
    return;
  }
  if (stream.next_in[0] != kGzipFirstByte) {
    throw_damaged(path_, "the end of the file or another gzip stream after a complete one",
                  "other bytes at offset " + std::to_string(offset_ - stream.avail_in));
  }
  const int status = inflateReset(&stream);
  MUSTER_CHECK_EQ(status, Z_OK);
}

std::size_t InputStream::read_inflated(std::byte* out, std::size_t bytes) {
  z_stream& stream = inflater_->stream;
  std::size_t total = 0;
  while (total < bytes && !at_end_) {
    if (stream.avail_in == 0 && !refill()) {
      throw_damaged(path_, "a whole gzip stream",
                    "its end after " + std::to_string(offset_) + " bytes of the file, " +
                        std::to_string(content_bytes_ + total) +
                        " bytes of content and no checksum: the file is cut short");
    }
    const std::size_t room = std::min<std::size_t>(bytes - total, std::numeric_limits<uInt>::max());
    stream.next_out = reinterpret_cast<Bytef*>(out + total);
    stream.avail_out = static_cast<uInt>(room);
    const int status = inflate(&stream, Z_NO_FLUSH);
    total += room - stream.avail_out;
    if (status == Z_STREAM_END) {
      finish_member();
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      const std::string cause = stream.msg != nullptr ? stream.msg : zError(status);
      throw_damaged(path_, "a sound gzip stream",
                    "\"" + cause + "\" near byte " + std::to_string(offset_ - stream.avail_in) +
                        " of the file");
    }
  }
  return total;
}

}  // namespace muster::internal
