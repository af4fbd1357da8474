// The real files and clock.
#include "muster/base/env.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "muster/base/error.h"

namespace muster {
namespace fs = std::filesystem;

FileError::FileError(std::string operation, fs::path path, int errno_value)
    : path_(std::move(path)),
      errno_value_(errno_value),
      message_("cannot " + operation + " " + path_.string() + ": " + errno_text(errno_value)) {}

namespace {

/// Calls `action` again as long as it is interrupted by a signal.
template <typename Action>
auto uninterrupted(Action&& action) {
  auto result = action();
  while (result < 0 && errno == EINTR) result = action();
  return result;
}

/// The same for what reports through an error_code.
template <typename Action>
void uninterrupted(std::error_code& error, Action&& action) {
  do {
    error.clear();
    action();
  } while (error == std::errc::interrupted);
}

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, const char* operation)
      : Descriptor(path,
                   uninterrupted([&] { return open(path.c_str(), flags | O_CLOEXEC, 0644); })) {
    if (fd_ < 0) throw FileError(operation, path, errno);
  }
  /// Nothing is thrown where `fd` is negative.
  Descriptor(fs::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int fd() const { return fd_; }
  const fs::path& path() const { return path_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  fs::path path_;
  int fd_;
};

class SystemWritableFile : public WritableFile {
 public:
  explicit SystemWritableFile(const fs::path& path)
      : file_(path, O_WRONLY | O_CREAT | O_TRUNC, "create") {}

  void write_at(std::uint64_t offset, const void* data, std::size_t bytes) override {
    const char* next = static_cast<const char*>(data);
    while (bytes > 0) {
      const std::size_t written = write_some(offset, next, bytes);
      next += written;
      offset += written;
      bytes -= written;
    }
  }

  void sync() override {
    if (uninterrupted([&] { return fsync(file_.fd()); }) != 0)
      throw FileError("sync", file_.path(), errno);
  }

  void close() override {
    // Linux has closed the file also where a signal interrupted it.
    if (::close(file_.release()) != 0 && errno != EINTR)
      throw FileError("close", file_.path(), errno);
  }

 protected:
  virtual std::size_t write_some(std::uint64_t offset, const char* data, std::size_t bytes) {
    const ssize_t written =
        uninterrupted([&] { return pwrite(file_.fd(), data, bytes, static_cast<off_t>(offset)); });
    if (written < 0) throw FileError("write", file_.path(), errno);
    if (written == 0) throw FileError("write", file_.path(), EIO);
    return static_cast<std::size_t>(written);
  }

  Descriptor file_;
};

constexpr std::size_t kLeastDirectBytes = 64 << 10;

/// A file opened twice: whole blocks go past the page cache, the rest of it through it. The two
/// never share a block.
class SystemLargeFile : public SystemWritableFile {
 public:
  SystemLargeFile(const fs::path& path, std::uint64_t bytes)
      : SystemWritableFile(path),
        direct_(path, uninterrupted(
                          [&] { return open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC); })) {
    if (direct_.fd() < 0) refuse(errno);
    allocate(bytes);
  }

  std::string not_direct_because() const override {
    const int refused = refused_;
    return refused == 0 ? "" : errno_text(refused);
  }

 protected:
  std::size_t write_some(std::uint64_t offset, const char* data, std::size_t bytes) override {
    const std::size_t blocks = bytes / kDirectBlockBytes * kDirectBlockBytes;
    const bool aligned = (reinterpret_cast<std::uintptr_t>(data) | offset) % kDirectBlockBytes == 0;
    // A thousand single blocks would be waited for one by one; the kernel writes them together.
    if (refused_ != 0 || !aligned || blocks < kLeastDirectBytes)
      return SystemWritableFile::write_some(offset, data, bytes);
    const ssize_t written = uninterrupted(
        [&] { return pwrite(direct_.fd(), data, blocks, static_cast<off_t>(offset)); });
    if (written > 0) return static_cast<std::size_t>(written);
    // Larger blocks than ours, or a file system that promised too much.
    if (written < 0 && errno == EINVAL) {
      refuse(EINVAL);
      return SystemWritableFile::write_some(offset, data, bytes);
    }
    throw FileError("write", file_.path(), written < 0 ? errno : EIO);
  }

 private:
  // A file system without direct I/O says EINVAL; whatever else is wrong would be wrong with the
  // other descriptor, too, and is told there.
  void refuse(int errno_value) { refused_ = errno_value; }

  // Without it each block that is written past the file's end would wait for the one before.
  void allocate(std::uint64_t bytes) {
    if (bytes == 0) return;
    const int result =
        uninterrupted([&] { return fallocate(file_.fd(), 0, 0, static_cast<off_t>(bytes)); });
    if (result != 0 && errno != EOPNOTSUPP) throw FileError("allocate", file_.path(), errno);
  }

  Descriptor direct_;
  std::atomic<int> refused_{0};
};

class SystemReadableFile : public ReadableFile {
 public:
  explicit SystemReadableFile(const fs::path& path) : file_(path, O_RDONLY, "open") {
    struct stat info {};
    if (uninterrupted([&] { return fstat(file_.fd(), &info); }) != 0)
      throw FileError("stat", path, errno);
    if (S_ISDIR(info.st_mode)) throw FileError("read", path, EISDIR);
    size_bytes_ = static_cast<std::uint64_t>(info.st_size);
  }

  std::uint64_t size_bytes() const override { return size_bytes_; }

  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    char* next = static_cast<char*>(out);
    std::size_t total = 0;
    while (total < bytes) {
      const std::size_t got = read_some(offset + total, next + total, bytes - total);
      if (got == 0) break;
      total += got;
    }
    return total;
  }

 protected:
  /// 0 at the end of the file alone.
  virtual std::size_t read_some(std::uint64_t offset, char* out, std::size_t bytes) const {
    const ssize_t got =
        uninterrupted([&] { return pread(file_.fd(), out, bytes, static_cast<off_t>(offset)); });
    if (got < 0) throw FileError("read", file_.path(), errno);
    return static_cast<std::size_t>(got);
  }

  Descriptor file_;

 private:
  std::uint64_t size_bytes_ = 0;
};

/// A file opened twice: whole blocks come past the page cache, the rest through it.
class SystemLargeReadableFile : public SystemReadableFile {
 public:
  explicit SystemLargeReadableFile(const fs::path& path)
      : SystemReadableFile(path),
        direct_(path, uninterrupted(
                          [&] { return open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC); })) {}

 protected:
  std::size_t read_some(std::uint64_t offset, char* out, std::size_t bytes) const override {
    const std::size_t blocks = bytes / kDirectBlockBytes * kDirectBlockBytes;
    const bool aligned = (reinterpret_cast<std::uintptr_t>(out) | offset) % kDirectBlockBytes == 0;
    if (direct_.fd() < 0 || !aligned || blocks == 0)
      return SystemReadableFile::read_some(offset, out, bytes);
    const ssize_t got =
        uninterrupted([&] { return pread(direct_.fd(), out, blocks, static_cast<off_t>(offset)); });
    if (got >= 0) return static_cast<std::size_t>(got);
    // Larger blocks than ours, or a file system that promised too much.
    if (errno == EINVAL) return SystemReadableFile::read_some(offset, out, bytes);
    throw FileError("read", file_.path(), errno);
  }

 private:
  Descriptor direct_;
};

class SystemEnv : public Env {
 public:
  std::unique_ptr<WritableFile> create_file(const fs::path& path) override {
    return std::make_unique<SystemWritableFile>(path);
  }

  std::unique_ptr<WritableFile> create_large_file(const fs::path& path,
                                                  std::uint64_t bytes) override {
    return std::make_unique<SystemLargeFile>(path, bytes);
  }

  std::unique_ptr<ReadableFile> open_file(const fs::path& path) override {
    return std::make_unique<SystemReadableFile>(path);
  }

  std::unique_ptr<ReadableFile> open_large_file(const fs::path& path) override {
    return std::make_unique<SystemLargeReadableFile>(path);
  }

  /// Not the standard library's: where somebody else was first and the look at what is there fails,
  /// that one says "exists" and not why.
  void create_directories(const fs::path& path) override {
    const auto make = [&] { return mkdir(path.c_str(), 0777); };
    if (uninterrupted(make) == 0) return;
    if (errno == ENOENT && path.has_parent_path()) {
      create_directories(path.parent_path());
      if (uninterrupted(make) == 0) return;
    }
    if (errno == EEXIST && is_directory(path)) return;
    throw FileError("create directory", path, errno == EEXIST ? ENOTDIR : errno);
  }

  void sync_directory(const fs::path& path) override {
    Descriptor directory(path, O_RDONLY | O_DIRECTORY, "open directory");
    if (uninterrupted([&] { return fsync(directory.fd()); }) != 0)
      throw FileError("sync directory", path, errno);
  }

  void rename(const fs::path& from, const fs::path& to) override {
    if (uninterrupted([&] { return ::rename(from.c_str(), to.c_str()); }) != 0)
      throw FileError("rename to " + to.string(), from, errno);
  }

  void remove_all(const fs::path& path) override {
    std::error_code error;
    uninterrupted(error, [&] { fs::remove_all(path, error); });
    if (error) throw FileError("remove", path, error.value());
  }

  std::vector<std::string> list_directory(const fs::path& path) override {
    std::error_code error;
    std::vector<std::string> names;
    uninterrupted(error, [&] {
      names.clear();
      for (fs::directory_iterator entry(path, error), end; !error && entry != end;
           entry.increment(error)) {
        names.push_back(entry->path().filename().string());
      }
    });
    if (error) throw FileError("list directory", path, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  bool exists(const fs::path& path) override {
    struct stat info {};
    if (uninterrupted([&] { return stat(path.c_str(), &info); }) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw FileError("stat", path, errno);
  }

  std::chrono::system_clock::time_point now() override { return std::chrono::system_clock::now(); }

 private:
  bool is_directory(const fs::path& path) {
    struct stat info {};
    if (uninterrupted([&] { return stat(path.c_str(), &info); }) != 0)
      throw FileError("stat", path, errno);
    return S_ISDIR(info.st_mode);
  }
};

}  // namespace

std::unique_ptr<WritableFile> Env::create_large_file(const fs::path& path, std::uint64_t) {
  return create_file(path);
}

std::unique_ptr<ReadableFile> Env::open_large_file(const fs::path& path) { return open_file(path); }

std::string Env::read_text(const fs::path& path) {
  constexpr std::uint64_t kMinReadBytes = 4096;
  const auto file = open_file(path);
  std::string text;
  std::size_t got = 0;
  std::size_t wanted = 0;
  do {
    const std::size_t before = text.size();
    wanted = std::max(kMinReadBytes,
                      file->size_bytes() + 1);  // one more, to meet the end at the first try
    text.resize(before + wanted);
    got = file->read_at(before, text.data() + before, wanted);
    text.resize(before + got);
  } while (got == wanted);
  return text;
}

void Env::write_text_atomically(const fs::path& path, const std::string& text) {
  fs::path temporary = path;
  temporary += ".tmp";
  const auto file = create_file(temporary);
  try {
    file->write_at(0, text.data(), text.size());
    file->sync();
    file->close();
    rename(temporary, path);
  } catch (const FileError&) {
    try {
      remove_all(temporary);
    } catch (const FileError&) {
      // The first error is the cause, and the one to tell.
    }
    throw;
  }
  sync_directory(path.parent_path().empty() ? fs::path(".") : path.parent_path());
}

fs::path cache_directory() {
  const char* cache = std::getenv("MUSTER_CACHE");
  if (cache != nullptr && *cache != '\0') return cache;
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : ".") / ".cache" / "muster";
}

std::unique_ptr<Env> make_system_env() { return std::make_unique<SystemEnv>(); }

}  // namespace muster
