// The real files and clock.
#include "muster/base/env.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "muster/base/error.h"

namespace muster {
namespace fs = std::filesystem;

FileError::FileError(std::string operation, fs::path path, int errno_value)
    : path_(std::move(path)),
      errno_value_(errno_value),
      message_("cannot " + operation + " " + path_.string() + ": " + errno_text(errno_value)) {}

namespace {

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, const char* operation)
      : path_(path), fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) throw FileError(operation, path, errno);
  }
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
      const ssize_t written = pwrite(file_.fd(), next, bytes, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw FileError("write", file_.path(), errno);
      if (written == 0) throw FileError("write", file_.path(), EIO);
      next += written;
      offset += static_cast<std::uint64_t>(written);
      bytes -= static_cast<std::size_t>(written);
    }
  }

  void sync() override {
    if (fsync(file_.fd()) != 0) throw FileError("sync", file_.path(), errno);
  }

  void close() override {
    if (::close(file_.release()) != 0) throw FileError("close", file_.path(), errno);
  }

 private:
  Descriptor file_;
};

class SystemReadableFile : public ReadableFile {
 public:
  explicit SystemReadableFile(const fs::path& path) : file_(path, O_RDONLY, "open") {
    struct stat info {};
    if (fstat(file_.fd(), &info) != 0) throw FileError("stat", path, errno);
    if (S_ISDIR(info.st_mode)) throw FileError("read", path, EISDIR);
    size_bytes_ = static_cast<std::uint64_t>(info.st_size);
  }

  std::uint64_t size_bytes() const override { return size_bytes_; }

  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    char* next = static_cast<char*>(out);
    std::size_t total = 0;
    while (total < bytes) {
      const ssize_t got =
          pread(file_.fd(), next + total, bytes - total, static_cast<off_t>(offset + total));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw FileError("read", file_.path(), errno);
      if (got == 0) break;
      total += static_cast<std::size_t>(got);
    }
    return total;
  }

 private:
  Descriptor file_;
  std::uint64_t size_bytes_ = 0;
};

class SystemEnv : public Env {
 public:
  std::unique_ptr<WritableFile> create_file(const fs::path& path) override {
    return std::make_unique<SystemWritableFile>(path);
  }

  std::unique_ptr<ReadableFile> open_file(const fs::path& path) override {
    return std::make_unique<SystemReadableFile>(path);
  }

  void create_directories(const fs::path& path) override {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) throw FileError("create directory", path, error.value());
  }

  void sync_directory(const fs::path& path) override {
    Descriptor directory(path, O_RDONLY | O_DIRECTORY, "open directory");
    if (fsync(directory.fd()) != 0) throw FileError("sync directory", path, errno);
  }

  void rename(const fs::path& from, const fs::path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0)
      throw FileError("rename to " + to.string(), from, errno);
  }

  void remove_all(const fs::path& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) throw FileError("remove", path, error.value());
  }

  std::vector<std::string> list_directory(const fs::path& path) override {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator entry(path, error), end; !error && entry != end;
         entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    if (error) throw FileError("list directory", path, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  bool exists(const fs::path& path) override {
    struct stat info {};
    if (stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw FileError("stat", path, errno);
  }

  std::chrono::system_clock::time_point now() override { return std::chrono::system_clock::now(); }
};

}  // namespace

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
