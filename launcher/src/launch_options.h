// What `muster run` was asked to do.
#ifndef MUSTER_LAUNCHER_LAUNCH_OPTIONS_H_
#define MUSTER_LAUNCHER_LAUNCH_OPTIONS_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher {

/// Bounds of the world size over restarts.
struct ElasticRange {
  int min = 1;
  int max = 1;
};

struct LaunchOptions {
  int ranks = 1;
  int max_restarts = 3;  ///< -1: no limit.
  std::optional<ElasticRange> elastic;
  std::string log_directory;  ///< Empty: muster-logs/<run id>.
  std::chrono::milliseconds grace{30000};
  bool quiet = false;
  std::string program;
  std::vector<std::string> arguments;
};

/// Reads the words after `muster run`: our flags, then (after an optional `--`) the program and its
/// own words, which are not looked at. Nothing when help was asked for. Throws ConfigError that
/// lists every problem.
std::optional<LaunchOptions> parse_launch_options(const std::vector<std::string>& words);

/// Help text of `muster run`.
std::string launch_help();

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_LAUNCH_OPTIONS_H_
