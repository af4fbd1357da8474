// A file per rank and generation with all that the rank wrote.
#ifndef MUSTER_LAUNCHER_LOG_FILES_H_
#define MUSTER_LAUNCHER_LOG_FILES_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "file_descriptor.h"

namespace muster::launcher {

/// Where a run's files lie: `requested`, or muster-logs/`run_id` when that is empty. Created.
/// Throws ConfigError when it cannot be.
std::filesystem::path make_log_directory(const std::string& requested, const std::string& run_id);

/// One rank's log. Both of its streams go into it in the order in which they arrive. An existing
/// file is added to.
class LogFile {
 public:
  /// Creates the file and its directory. Throws ConfigError naming the path and the cause.
  explicit LogFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  /// Appends and returns the offset at which `bytes` begin; nothing when the file cannot take them
  /// (then error() says why, and the file takes no more).
  std::optional<std::int64_t> append(std::string_view bytes);
  /// Empty, or why the file is not whole.
  const std::string& error() const { return error_; }
  /// Up to `bytes` from `offset_bytes`; fewer at the end.
  std::string read_at(std::int64_t offset_bytes, std::size_t bytes) const;
  /// The last lines, at most `lines` of them and 4 KiB; "" when the file is empty.
  std::string tail(int lines) const;

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  std::int64_t size_bytes_ = 0;
  std::string error_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_LOG_FILES_H_
