// Open MPI's files whose owners are dead. A segment in /dev/shm has no owner in its name that can
// be asked, so it is dead when no process maps it; a session directory has its mpirun's id.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <filesystem>
#include <set>

#include "doctor/gather.h"

namespace muster::launcher::doctor {
namespace {

bool is_mine(const std::filesystem::path& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && info.st_uid == getuid();
}

/// Only while its writers are between making and mapping it could a segment be taken for dead.
bool is_settled(const std::filesystem::path& path) {
  constexpr std::time_t kSettledSeconds = 10;
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && info.st_mtime + kSettledSeconds < std::time(nullptr);
}

bool is_process(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// Names of files in /dev/shm that processes have mapped.
std::set<std::string> mapped_segments(const SystemView& view) {
  const std::string folder = " /dev/shm/";
  std::set<std::string> names;
  for (const std::string& process : view.names("/proc")) {
    if (!is_process(process)) continue;
    for (const std::string& line : view.lines("/proc/" + process + "/maps")) {
      const std::size_t begin = line.find(folder);
      if (begin == std::string::npos) continue;
      names.insert(split_words(line.substr(begin + folder.size())).front());
    }
  }
  return names;
}

void add_segments(const SystemView& view, std::vector<Leftover>& found) {
  std::vector<std::string> candidates;
  for (const std::string& name : view.names("/dev/shm")) {
    const bool open_mpi = name.starts_with("sm_segment.") || name.starts_with("vader_segment.");
    const auto path = view.at("/dev/shm/" + name);
    if (open_mpi && is_mine(path) && is_settled(path)) candidates.push_back(name);
  }
  if (candidates.empty()) return;
  const std::set<std::string> mapped = mapped_segments(view);
  for (const std::string& name : candidates) {
    struct stat info {};
    if (mapped.contains(name) || lstat(view.at("/dev/shm/" + name).c_str(), &info) != 0) continue;
    found.push_back({"/dev/shm/" + name, static_cast<std::int64_t>(info.st_blocks) * 512});
  }
}

/// The process id in "ompi.1234" (release 5) or "pid.1234" (release 4); empty where none is.
std::string process_in(const std::string& name, const std::string& prefix) {
  const std::string id = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
  return is_process(id) ? id : "";
}

void add_sessions(const SystemView& view, const std::string& folder, const std::string& prefix,
                  std::vector<Leftover>& found) {
  for (const std::string& name : view.names(folder)) {
    const std::string id = process_in(name, prefix);
    const std::string path = folder + "/" + name;
    if (id.empty() || !is_mine(view.at(path)) || view.exists("/proc/" + id)) continue;
    found.push_back({path, 0});
  }
}

}  // namespace

std::vector<Leftover> gather_leftovers(const SystemView& view, const std::string& temporary) {
  std::vector<Leftover> found;
  add_segments(view, found);
  add_sessions(view, temporary, "ompi.", found);
  for (const std::string& name : view.names(temporary)) {
    // Release 4: ompi.HOST.UID/pid.1234
    if (name.starts_with("ompi.") && process_in(name, "ompi.").empty()) {
      add_sessions(view, temporary + "/" + name, "pid.", found);
    }
  }
  return found;
}

}  // namespace muster::launcher::doctor
