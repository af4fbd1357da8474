// Writing and reading back the logs of ranks.
#include "log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

constexpr std::int64_t kTailBytes = 4096;

void make_directories(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    throw ConfigError("log directory: expected to create " + directory.string() +
                      ", found: " + error.message() + "; give a writable place with --log-dir");
  }
}

}  // namespace

std::filesystem::path make_log_directory(const std::string& requested, const std::string& run_id) {
  const std::filesystem::path directory = requested.empty()
                                              ? std::filesystem::path("muster-logs") / run_id
                                              : std::filesystem::path(requested);
  make_directories(directory);
  return directory;
}

LogFile::LogFile(std::filesystem::path path) : path_(std::move(path)) {
  make_directories(path_.parent_path());
  file_.reset(open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  struct stat info {};
  if (!file_.is_open() || fstat(file_.get(), &info) != 0) {
    throw ConfigError("log file: expected to write " + path_.string() +
                      ", found: " + errno_text(errno) + "; give a writable place with --log-dir");
  }
  size_bytes_ = info.st_size;
}

std::optional<std::int64_t> LogFile::append(std::string_view bytes) {
  if (!error_.empty()) return std::nullopt;
  const std::int64_t offset = size_bytes_;
  while (!bytes.empty()) {
    const ssize_t written = write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      error_ = errno_text(errno);
      return std::nullopt;
    }
    size_bytes_ += written;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return offset;
}

std::string LogFile::read_at(std::int64_t offset_bytes, std::size_t bytes) const {
  std::string text(bytes, '\0');
  ssize_t count;
  do {
    count = pread(file_.get(), text.data(), bytes, offset_bytes);
  } while (count < 0 && errno == EINTR);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  return text;
}

std::string LogFile::tail(int lines) const {
  const std::int64_t begin = std::max<std::int64_t>(0, size_bytes_ - kTailBytes);
  std::string text = read_at(begin, static_cast<std::size_t>(size_bytes_ - begin));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t start = text.size();
  for (int line = 0; line < lines && start != std::string::npos && start > 0; ++line) {
    start = text.rfind('\n', start - 1);
  }
  return start == std::string::npos || start == 0 ? text : text.substr(start + 1);
}

}  // namespace muster::launcher
