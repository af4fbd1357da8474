// Limits are looked for in every group from this process's own up to the mount, since the kernel
// honours all of them.
#include "doctor/cgroups.h"

#include <algorithm>
#include <sstream>

namespace muster::launcher::doctor {
namespace {

// Of version 1 a group without a limit says 2^63 less a page, not "max".
constexpr std::int64_t kNoLimit = std::int64_t{1} << 60;

bool has_part(const std::string& list, const std::string& part) {
  std::istringstream stream(list);
  for (std::string one; std::getline(stream, one, ',');) {
    if (one == part) return true;
  }
  return false;
}

/// `path` of the group, below what of its hierarchy is mounted.
std::string below(const std::string& path, const std::string& mount_root) {
  if (mount_root == "/") return path;
  if (path.starts_with(mount_root)) return path.substr(mount_root.size());
  return "/";  // another namespace's path: the mount itself is the nearest group that can be seen
}

}  // namespace

// "36 35 98:0 /docker/ab /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
Cgroups::Cgroups(const SystemView& view) : view_(view) {
  for (const std::string& line : view.lines("/proc/self/mountinfo")) {
    const std::vector<std::string> words = split_words(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 5 || words.end() - dash < 4 || !dash[1].starts_with("cgroup")) continue;
    mounts_.push_back({words[3], words[4], dash[1], dash[3]});
  }
}

// Lines of /proc/self/cgroup: "4:cpu,cpuacct:/a/b" for version 1, "0::/a/b" for version 2.
Cgroups::Place Cgroups::find(const std::string& controller) const {
  std::string path_v2;
  std::string path_v1;
  for (const std::string& line : view_.lines("/proc/self/cgroup")) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) path_v2 = line.substr(second + 1);
    if (has_part(controllers, controller)) path_v1 = line.substr(second + 1);
  }
  Place place;
  place.version = path_v1.empty() ? 2 : 1;
  const std::string& path = place.version == 1 ? path_v1 : path_v2;
  if (path.empty()) return place;
  for (const Mount& mount : mounts_) {
    if (mount.type != (place.version == 1 ? "cgroup" : "cgroup2")) continue;
    if (place.version == 1 && !has_part(mount.options, controller)) continue;
    std::string group = below(path, mount.root);
    while (group.size() > 1) {
      place.directories.push_back(mount.point + group);
      group = group.substr(0, group.rfind('/'));
    }
    place.directories.push_back(mount.point);
    break;
  }
  return place;
}

std::optional<double> Cgroups::cpu_quota() const {
  const Place place = find("cpu");
  std::optional<double> smallest;
  for (const std::string& directory : place.directories) {
    std::optional<std::int64_t> quota;
    std::optional<std::int64_t> period;
    if (place.version == 1) {
      quota = view_.number(directory + "/cpu.cfs_quota_us");
      period = view_.number(directory + "/cpu.cfs_period_us");
    } else {
      const auto words = split_words(view_.text(directory + "/cpu.max").value_or(""));
      if (words.size() != 2) continue;
      quota = leading_number(words[0]);
      period = leading_number(words[1]);
    }
    if (!quota || !period || *quota <= 0 || *period <= 0) continue;
    const double cores = static_cast<double>(*quota) / static_cast<double>(*period);
    if (!smallest || cores < *smallest) smallest = cores;
  }
  return smallest;
}

std::optional<CgroupLimit> Cgroups::tightest(const std::string& controller,
                                             const std::string& limit_v2,
                                             const std::string& used_v2,
                                             const std::string& limit_v1,
                                             const std::string& used_v1) const {
  const Place place = find(controller);
  std::optional<CgroupLimit> result;
  for (const std::string& directory : place.directories) {
    const auto limit = view_.number(directory + "/" + (place.version == 1 ? limit_v1 : limit_v2));
    if (!limit || *limit < 0 || *limit >= kNoLimit) continue;
    const auto used = view_.number(directory + "/" + (place.version == 1 ? used_v1 : used_v2));
    const CgroupLimit one{*limit, used.value_or(0)};
    if (!result || one.limit - one.used < result->limit - result->used) result = one;
  }
  return result;
}

std::optional<CgroupLimit> Cgroups::memory() const {
  return tightest("memory", "memory.max", "memory.current", "memory.limit_in_bytes",
                  "memory.usage_in_bytes");
}

std::optional<CgroupLimit> Cgroups::processes() const {
  return tightest("pids", "pids.max", "pids.current", "pids.max", "pids.current");
}

std::int64_t Cgroups::throttled_periods() const {
  std::int64_t periods = 0;
  for (const std::string& directory : find("cpu").directories) {
    const auto statistics = view_.table(directory + "/cpu.stat");
    const auto found = statistics.find("nr_throttled");
    if (found != statistics.end()) periods += leading_number(found->second).value_or(0);
  }
  return periods;
}

}  // namespace muster::launcher::doctor
