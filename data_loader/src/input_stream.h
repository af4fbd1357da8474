// The bytes of a file in order, decompressed when it is gzip.
#ifndef MUSTER_DATA_LOADER_SRC_INPUT_STREAM_H_
#define MUSTER_DATA_LOADER_SRC_INPUT_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/env.h"

namespace muster::internal {

/// Opens a data file that an option named. Throws ConfigError when it is missing, unreadable or no
/// regular file.
std::unique_ptr<ReadableFile> open_data_file(const std::filesystem::path& path, Env& env);

/// DataError in three parts: "PATH: expected E; found F. Get the file again ...".
[[noreturn]] void throw_damaged(const std::filesystem::path& path, const std::string& expected,
                                const std::string& found);

/// gzip (RFC 1952, any number of members) is told by its first two bytes. One thread at a time.
class InputStream {
 public:
  /// Throws as open_data_file() does.
  InputStream(const std::filesystem::path& path, Env& env);
  ~InputStream();
  InputStream(const InputStream&) = delete;
  InputStream& operator=(const InputStream&) = delete;

  /// Up to `bytes` bytes; fewer only at the end, which is where a gzip stream's checksum has been
  /// compared. Throws DataError when the file cannot be read, is cut short, or is no sound gzip
  /// stream.
  std::size_t read(void* out, std::size_t bytes);

  /// No file of this size holds more content: exact for a plain file, a bound for gzip.
  std::uint64_t content_bytes_at_most() const;
  bool compressed() const { return inflater_ != nullptr; }

 private:
  struct Inflater;

  std::size_t read_raw(void* out, std::size_t bytes);
  std::size_t read_inflated(std::byte* out, std::size_t bytes);
  bool refill();
  void finish_member();

  std::filesystem::path path_;
  std::unique_ptr<ReadableFile> file_;
  std::uint64_t offset_ = 0;         // in the file, of the next raw read
  std::uint64_t content_bytes_ = 0;  // delivered so far
  std::vector<std::byte> input_;     // compressed bytes that the inflater reads
  std::unique_ptr<Inflater> inflater_;
  bool at_end_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_DATA_LOADER_SRC_INPUT_STREAM_H_
