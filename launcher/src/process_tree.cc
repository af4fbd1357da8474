// Processes as /proc shows them.
#include "process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string_view>

#include "file_descriptor.h"
#include "muster/base/error.h"

namespace muster::launcher {
namespace {

constexpr unsigned kFlagExiting = 0x4;  // PF_EXITING in the kernel's include/linux/sched.h

// Nothing when there is no such file: the process is gone or not ours to read, or the kernel was
// built without it.
std::optional<std::string> read_proc(pid_t pid, const std::string& name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return std::nullopt;
  std::string text;
  char buffer[4096];
  ssize_t bytes;
  while ((bytes = read(file.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> pids;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return pids;
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  closedir(directory);
  return pids;
}

struct Stat {
  pid_t parent = 0;
  unsigned flags = 0;
};

// proc(5): pid (name) state parent group session tty tty-group flags. The name may hold anything,
// also parentheses.
std::optional<Stat> read_stat(pid_t pid) {
  const std::string text = read_proc(pid, "stat").value_or("");
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  char state;
  long group, session, tty, tty_group;
  Stat stat;
  if (!(fields >> state >> stat.parent >> group >> session >> tty >> tty_group >> stat.flags)) {
    return std::nullopt;
  }
  return stat;
}

}  // namespace

std::vector<pid_t> own_children() {
  std::vector<pid_t> children;
  // proc(5) calls this list unreliable where children leave it during the reading: ours leave only
  // when this thread reaps them.
  const std::string self = std::to_string(getpid());
  if (const auto list = read_proc(getpid(), "task/" + self + "/children")) {
    std::istringstream pids(*list);
    for (pid_t pid; pids >> pid;) children.push_back(pid);
    return children;
  }
  for (const pid_t pid : all_processes()) {
    const auto stat = read_stat(pid);
    if (stat && stat->parent == getpid()) children.push_back(pid);
  }
  return children;
}

std::vector<pid_t> processes_with_environment(const std::string& line) {
  const std::string marked = '\0' + line + '\0';
  std::vector<pid_t> found;
  for (const pid_t pid : all_processes()) {
    if (pid == getpid()) continue;
    const std::string environment = '\0' + read_proc(pid, "environ").value_or("");
    if (environment.find(marked) != std::string::npos) found.push_back(pid);
  }
  return found;
}

bool is_exiting(pid_t pid) {
  const auto stat = read_stat(pid);
  return stat && (stat->flags & kFlagExiting) != 0;
}

void adopt_orphans() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    throw InternalError("prctl(PR_SET_CHILD_SUBREAPER): " + errno_text(errno));
  }
}

std::vector<pid_t> kill_descendants(const std::vector<pid_t>& spared,
                                    std::chrono::milliseconds limit) {
  const auto give_up = std::chrono::steady_clock::now() + limit;
  for (;;) {
    // A killed child's own children become ours, so the next look finds them.
    std::vector<pid_t> left = own_children();
    std::erase_if(left, [&](pid_t pid) {
      return std::find(spared.begin(), spared.end(), pid) != spared.end();
    });
    if (left.empty() || std::chrono::steady_clock::now() > give_up) return left;
    for (const pid_t pid : left) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, WNOHANG);
    }
    const timespec pause{0, 200000};  // about what a killed process takes to become a zombie
    nanosleep(&pause, nullptr);
  }
}

}  // namespace muster::launcher
