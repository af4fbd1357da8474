// What `muster doctor` was asked to do.
#ifndef MUSTER_LAUNCHER_DOCTOR_OPTIONS_H_
#define MUSTER_LAUNCHER_DOCTOR_OPTIONS_H_

#include <optional>
#include <string>
#include <vector>

namespace muster::launcher::doctor {

struct DoctorOptions {
  std::optional<int> ranks;
  int threads = 1;
  std::string directory;              ///< Empty: no disk is looked at.
  std::optional<std::string> mpirun;  ///< The words between mpirun and the program.
  bool json = false;
  bool measure = true;
};

/// Reads the words after `muster doctor`. Nothing when help was asked for. Throws ConfigError.
std::optional<DoctorOptions> parse_doctor_options(const std::vector<std::string>& words);

/// Help text of `muster doctor`.
std::string doctor_help();

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_OPTIONS_H_
