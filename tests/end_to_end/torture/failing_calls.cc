// libc's own names; each counts, and then either fails or goes on to libc.
#undef _FORTIFY_SOURCE  // its inline forms of open() and read() would be defined twice
#include "failing_calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <limits>

namespace muster::testing {
namespace {

constexpr int kMostFiles = 4096;

struct Settings {
  std::string directory;
  FailingCall failing_call;
};

// Set once, before the program's threads are started or while they are idle.
std::atomic<const Settings*> settings{nullptr};
std::atomic<std::int64_t> counted{0};
std::array<std::atomic<bool>, kMostFiles> is_below{};

/// The function that the dynamic linker would have taken.
template <typename Function>
Function* real(Function*, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool below(const char* path) {
  const Settings* set = settings.load();
  return set != nullptr && path != nullptr &&
         std::string_view(path).starts_with(std::string_view(set->directory));
}

bool below(int fd) { return fd >= 0 && fd < kMostFiles && is_below[static_cast<std::size_t>(fd)]; }

bool below(int directory_fd, const char* path) {
  return path != nullptr && path[0] == '/' ? below(path) : below(directory_fd);
}

/// Counts a call on what is below the directory. True when it is to fail; errno is then set, or 0
/// where a write is to be short.
bool fails(bool is_counted) {
  const Settings* set = settings.load();
  if (set == nullptr || !is_counted) return false;
  const FailingCall& failing = set->failing_call;
  const std::int64_t call = counted++;
  if (call != failing.call && !(failing.from_then_on && call > failing.call)) return false;
  errno = failing.errno_value;
  return true;
}

/// As fails(), for calls that have no short form.
bool fails_whole(bool is_counted) { return fails(is_counted) && errno != 0; }

int opened(int fd, bool is_counted) {
  if (fd >= 0 && fd < kMostFiles) is_below[static_cast<std::size_t>(fd)] = is_counted;
  return fd;
}

}  // namespace

void fail_calls_below(const std::string& directory, const FailingCall& failing_call) {
  counted = 0;
  settings = new Settings{directory, failing_call};  // for the life of the program
}

void count_calls_below(const std::string& directory) {
  fail_calls_below(directory, {.call = std::numeric_limits<std::int64_t>::max()});
}

std::int64_t calls_counted() { return counted; }

}  // namespace muster::testing

using namespace muster::testing;

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (fails_whole(below(path))) return -1;
  return opened(real(&open, "open")(path, flags, mode), below(path));
}

int openat(int directory_fd, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const bool is_counted = below(directory_fd, path);
  if (fails_whole(is_counted)) return -1;
  return opened(real(&openat, "openat")(directory_fd, path, flags, mode), is_counted);
}

int close(int fd) {
  const bool is_counted = below(fd);
  // Linux closes a file whatever close() reports.
  const int result = real(&close, "close")(opened(fd, false));
  return fails_whole(is_counted) ? -1 : result;
}

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) {
  if (fails(below(fd))) {
    if (errno != 0) return -1;
    bytes = (bytes + 1) / 2;
    // Direct I/O takes whole blocks, and is short by whole blocks.
    if (bytes > 4096) bytes = bytes / 4096 * 4096;
  }
  return real(&pwrite, "pwrite")(fd, data, bytes, offset);
}

ssize_t pread(int fd, void* out, size_t bytes, off_t offset) {
  if (fails(below(fd))) {
    if (errno != 0) return -1;
    bytes = (bytes + 1) / 2;
    if (bytes > 4096) bytes = bytes / 4096 * 4096;
  }
  return real(&pread, "pread")(fd, out, bytes, offset);
}

int fsync(int fd) { return fails_whole(below(fd)) ? -1 : real(&fsync, "fsync")(fd); }

int ftruncate(int fd, off_t bytes) noexcept {
  return fails_whole(below(fd)) ? -1 : real(&ftruncate, "ftruncate")(fd, bytes);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  return fails_whole(below(fd)) ? -1 : real(&fallocate, "fallocate")(fd, mode, offset, bytes);
}

int fstat(int fd, struct stat* info) noexcept {
  return fails_whole(below(fd)) ? -1 : real(&fstat, "fstat")(fd, info);
}

int stat(const char* path, struct stat* info) noexcept {
  return fails_whole(below(path)) ? -1 : real(&stat, "stat")(path, info);
}

int lstat(const char* path, struct stat* info) noexcept {
  return fails_whole(below(path)) ? -1 : real(&lstat, "lstat")(path, info);
}

int mkdir(const char* path, mode_t mode) noexcept {
  return fails_whole(below(path)) ? -1 : real(&mkdir, "mkdir")(path, mode);
}

int rename(const char* from, const char* to) noexcept {
  return fails_whole(below(from)) ? -1 : real(&rename, "rename")(from, to);
}

int unlinkat(int directory_fd, const char* path, int flags) noexcept {
  return fails_whole(below(directory_fd, path))
             ? -1
             : real(&unlinkat, "unlinkat")(directory_fd, path, flags);
}

int unlink(const char* path) noexcept {
  return fails_whole(below(path)) ? -1 : real(&unlink, "unlink")(path);
}

int rmdir(const char* path) noexcept {
  return fails_whole(below(path)) ? -1 : real(&rmdir, "rmdir")(path);
}

int remove(const char* path) noexcept {
  return fails_whole(below(path)) ? -1 : real(&remove, "remove")(path);
}

DIR* opendir(const char* path) {
  return fails_whole(below(path)) ? nullptr : real(&opendir, "opendir")(path);
}

}  // extern "C"
