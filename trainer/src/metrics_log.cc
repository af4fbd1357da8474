// The metrics file.
#include "metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "muster/base/env.h"
#include "muster/base/error.h"

namespace muster::internal {

std::string lines_up_to_step(const std::string& text, std::int64_t step) {
  std::size_t keep = 0;
  while (keep < text.size()) {
    const std::size_t end = text.find('\n', keep);
    if (end == std::string::npos) break;
    const Json line =
        Json::parse(text.substr(keep, end - keep), nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) break;
    if (line["step"].get<std::int64_t>() > step) break;
    keep = end + 1;
  }
  return text.substr(0, keep);
}

void write_file(const std::filesystem::path& path, const Json& json) {
  try {
    make_system_env()->write_text_atomically(path, json.dump() + "\n");
  } catch (const FileError& e) {
    throw CheckpointError(std::string(e.what()) + "; check --checkpoint-dir");
  }
}

MetricsLog::MetricsLog(const std::filesystem::path& path, std::int64_t step)
    : path_(path), fd_(-1) {
  try {
    const auto env = make_system_env();
    const std::string old = env->exists(path) ? env->read_text(path) : "";
    env->write_text_atomically(path, lines_up_to_step(old, step));
  } catch (const FileError& e) {
    throw CheckpointError(std::string(e.what()) + "; check --checkpoint-dir");
  }
  fd_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd_ < 0) throw CheckpointError("cannot open " + path.string() + ": " + errno_text(errno));
}

MetricsLog::~MetricsLog() { close(fd_); }

void MetricsLog::append(const Json& line) {
  const std::string text = line.dump() + "\n";
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(fd_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw CheckpointError("cannot write " + path_.string() + ": " + errno_text(errno) +
                            "; free space and resume");
    }
    done += static_cast<std::size_t>(written);
  }
}

}  // namespace muster::internal
