// The outside world behind one interface (files, directories, the clock), so that tests can make
// any call fail.
#ifndef MUSTER_BASE_ENV_H_
#define MUSTER_BASE_ENV_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace muster {

/// A failed system call: errno and the path, so that callers can turn it into their own kind of
/// error.
class FileError : public std::exception {
 public:
  FileError(std::string operation, std::filesystem::path path, int errno_value);
  const char* what() const noexcept override { return message_.c_str(); }
  const std::filesystem::path& path() const noexcept { return path_; }
  int errno_value() const noexcept { return errno_value_; }

 private:
  std::filesystem::path path_;
  int errno_value_;
  std::string message_;
};

/// Direct I/O moves whole blocks of this many bytes.
inline constexpr std::size_t kDirectBlockBytes = 4096;

/// A file being written. Calls block; sync() and close() after all writes, which any threads may
/// make, each to bytes of its own. All throw FileError.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  /// Empty where writes of 64 KiB or more go past the page cache when address, offset and length
  /// are multiples of kDirectBlockBytes; else why this file does not do so.
  virtual std::string not_direct_because() const { return "it was not asked for"; }
  /// Writes all `bytes` at `offset`; interrupted and short writes are continued.
  virtual void write_at(std::uint64_t offset, const void* data, std::size_t bytes) = 0;
  /// Makes everything written so far durable (fsync).
  virtual void sync() = 0;
  /// Closes and reports what close() reports. The destructor closes without a word.
  virtual void close() = 0;
};

/// A file being read. Any thread. All throw FileError.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual std::uint64_t size_bytes() const = 0;
  /// Reads up to `bytes` at `offset`; returns fewer only at the end of the file.
  virtual std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const = 0;
};

/// Files and time. Any thread. All calls block and throw FileError.
class Env {
 public:
  virtual ~Env() = default;
  /// Creates or truncates `path`, mode 0644.
  virtual std::unique_ptr<WritableFile> create_file(const std::filesystem::path& path) = 0;
  /// The same for a large file of a known size: its space is allocated at once, and whole blocks
  /// are written past the page cache (O_DIRECT) where the file system takes that. Here, for
  /// environments that know no such thing: create_file().
  virtual std::unique_ptr<WritableFile> create_large_file(const std::filesystem::path& path,
                                                          std::uint64_t bytes);
  virtual std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& path) = 0;
  /// The same for a large file of which whole blocks are read past the page cache (O_DIRECT) where
  /// address, offset and length are multiples of kDirectBlockBytes and the file system takes that.
  /// Here, for environments that know no such thing: open_file().
  virtual std::unique_ptr<ReadableFile> open_large_file(const std::filesystem::path& path);
  /// Creates `path` and its missing parents. No error when it exists.
  virtual void create_directories(const std::filesystem::path& path) = 0;
  /// Makes the names in a directory durable.
  virtual void sync_directory(const std::filesystem::path& path) = 0;
  /// Renames a file or directory; an existing file `to` is replaced atomically.
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  /// Removes a file, or a directory with what is in it. No error when nothing is there.
  virtual void remove_all(const std::filesystem::path& path) = 0;
  /// Names in a directory, sorted.
  virtual std::vector<std::string> list_directory(const std::filesystem::path& path) = 0;
  virtual bool exists(const std::filesystem::path& path) = 0;
  virtual std::chrono::system_clock::time_point now() = 0;

  // Made of the calls above.
  /// The whole file, also where its size is not known beforehand (/proc).
  std::string read_text(const std::filesystem::path& path);
  /// Temporary file, sync, rename, sync of the directory: readers see the old text or the new,
  /// never less. The temporary file is removed when a step fails.
  void write_text_atomically(const std::filesystem::path& path, const std::string& text);
};

/// Where downloads and data sets live: $MUSTER_CACHE, else ~/.cache/muster.
std::filesystem::path cache_directory();

/// The real world. Stateless: as many as you like.
std::unique_ptr<Env> make_system_env();

}  // namespace muster

#endif  // MUSTER_BASE_ENV_H_
