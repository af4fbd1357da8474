// Control groups, both versions: where this process is, and the limits above it.
#ifndef MUSTER_LAUNCHER_DOCTOR_CGROUPS_H_
#define MUSTER_LAUNCHER_DOCTOR_CGROUPS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "doctor/system_view.h"

namespace muster::launcher::doctor {

/// A limit and what is used of it, in one control group.
struct CgroupLimit {
  std::int64_t limit = 0;
  std::int64_t used = 0;
};

class Cgroups {
 public:
  /// Reads /proc/self/cgroup and /proc/self/mountinfo.
  explicit Cgroups(const SystemView& view);

  /// Cores that the quota allows: the smallest from this process's group up to the mount. Nothing:
  /// no quota.
  std::optional<double> cpu_quota() const;
  /// The group in which least is left.
  std::optional<CgroupLimit> memory() const;
  std::optional<CgroupLimit> processes() const;
  /// Periods in which a group of this process was stopped by its quota, so far.
  std::int64_t throttled_periods() const;

 private:
  /// Version and directories (this process's first) of a controller.
  struct Place {
    int version = 2;
    std::vector<std::string> directories;
  };
  Place find(const std::string& controller) const;
  std::optional<CgroupLimit> tightest(const std::string& controller, const std::string& limit_v2,
                                      const std::string& used_v2, const std::string& limit_v1,
                                      const std::string& used_v1) const;

  struct Mount {
    std::string root;  ///< What of the hierarchy is mounted.
    std::string point;
    std::string type;     ///< "cgroup" or "cgroup2"
    std::string options;  ///< "rw,cpu,cpuacct"
  };
  const SystemView& view_;
  std::vector<Mount> mounts_;
};

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_CGROUPS_H_
