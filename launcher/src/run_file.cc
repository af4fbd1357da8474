// Writing run.json.
#include "run_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "file_descriptor.h"
#include "muster/base/json.h"

namespace muster::launcher {

std::string run_status_text(const RunStatus& status) {
  Json ranks = Json::array();
  for (std::size_t rank = 0; rank < status.rank_pids.size(); ++rank) {
    ranks.push_back({{"rank", rank}, {"pid", status.rank_pids[rank]}});
  }
  Json json = {{"run_id", status.run_id},
               {"launcher_pid", getpid()},
               {"generation", status.generation},
               {"world_size", status.world_size},
               {"ranks", ranks},
               {"step", status.step},
               {"total_steps", status.total_steps},
               {"restarts", status.restarts},
               {"state", status.state}};
  if (!status.checkpoint_path.empty()) {
    json["checkpoint"] = {{"step", status.checkpoint_step}, {"path", status.checkpoint_path}};
  }
  if (status.exit_code) json["exit_code"] = *status.exit_code;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool RunFile::write(const RunStatus& status) const {
  const std::string text = run_status_text(status);
  const std::string temporary = path_.string() + ".new";
  FileDescriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.is_open()) return false;
  const ssize_t written = ::write(file.get(), text.data(), text.size());
  const bool is_whole = written == static_cast<ssize_t>(text.size());
  if (is_whole && rename(temporary.c_str(), path_.c_str()) == 0) return true;
  // A short write to a file means that the disk is full.
  const int error = written >= 0 && !is_whole ? ENOSPC : errno;
  unlink(temporary.c_str());
  errno = error;
  return false;
}

}  // namespace muster::launcher
