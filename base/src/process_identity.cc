// Reading /proc.
#include "muster/base/process_identity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>

namespace muster {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Stat {
  char state = 0;
  std::uint64_t start_ticks = 0;
};

// proc(5): pid (name) state, then 18 numbers, then the start time. The name may hold anything,
// parentheses too.
std::optional<Stat> parse_stat(const std::string& text) {
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  Stat stat;
  std::string skipped;
  fields >> stat.state;
  for (int i = 0; i < 18; ++i) fields >> skipped;
  fields >> stat.start_ticks;
  if (!fields) return std::nullopt;
  return stat;
}

std::uint64_t own_pid_namespace() {
  struct stat info {};
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

std::string own_boot_id() {
  std::string text = read_file("/proc/sys/kernel/random/boot_id");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

ProcessIdentity own_process_identity() {
  ProcessIdentity own;
  own.pid = getpid();
  own.start_ticks = parse_stat(read_file("/proc/self/stat")).value_or(Stat{}).start_ticks;
  own.pid_namespace = own_pid_namespace();
  own.boot_id = own_boot_id();
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) == 0) own.host = host;
  return own;
}

ProcessState process_state(const ProcessIdentity& process) {
  if (process.boot_id.empty() || process.boot_id != own_boot_id() || process.pid_namespace == 0 ||
      process.pid_namespace != own_pid_namespace()) {
    return ProcessState::kUnknown;
  }
  return internal::state_from_stat(read_file("/proc/" + std::to_string(process.pid) + "/stat"),
                                   process.start_ticks);
}

ProcessState internal::state_from_stat(const std::string& text, std::uint64_t start_ticks) {
  const auto stat = parse_stat(text);
  if (!stat || stat->start_ticks != start_ticks) return ProcessState::kGone;
  switch (stat->state) {
    case 'Z':
    case 'X':
      return ProcessState::kGone;
    case 'T':
    case 't':
      return ProcessState::kStopped;
    default:
      return ProcessState::kRunning;
  }
}

}  // namespace muster
