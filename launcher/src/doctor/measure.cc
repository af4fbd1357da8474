// The program is started, waited for and read; meanwhile the kernel counts stolen and stopped time.
#include "doctor/measure.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <sstream>

#include "doctor/ask_child.h"
#include "doctor/cgroups.h"
#include "doctor/gather.h"
#include "muster/base/error.h"

namespace muster::launcher::doctor {
namespace {

// Loading LibTorch on a slow disk, and then some seconds of work that ranks without cores share.
constexpr std::chrono::seconds kLimit{90};
constexpr std::chrono::seconds kLimitOfARank{3};

/// Clock ticks of all processors since the start: all, and those that the hypervisor took.
struct Ticks {
  std::int64_t all = 0;
  std::int64_t stolen = 0;
};

// "cpu  user nice system idle iowait irq softirq steal guest guest_nice"; guests' time is in
// user's.
Ticks read_ticks(const SystemView& view) {
  constexpr std::size_t kSteal = 8;
  Ticks ticks;
  const auto lines = view.lines("/proc/stat");
  if (lines.empty()) return ticks;
  const auto words = split_words(lines.front());
  for (std::size_t i = 1; i <= kSteal && i < words.size(); ++i) {
    const std::int64_t value = leading_number(words[i]).value_or(0);
    ticks.all += value;
    if (i == kSteal) ticks.stolen = value;
  }
  return ticks;
}

std::vector<std::string> environment_lines() {
  std::vector<std::string> lines;
  for (const auto& [name, value] : own_environment()) lines.push_back(name + "=" + value);
  return lines;
}

/// The result is the one line of the output that is a JSON object.
Measurement read_result(const std::string& output) {
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("{\"transport\"")) {
      return measurement_from_json(parse_json(line, "muster-doctor-measure"));
    }
  }
  throw DataError("muster-doctor-measure: expected a line of JSON, found '" +
                  output.substr(0, 200) + "'; start it by hand");
}

std::string one_line(std::string text) {
  constexpr std::size_t kLongest = 600;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, kLongest);
}

Measurement failed(const std::string& error) {
  Measurement result;
  result.error = error;
  return result;
}

Measurement run_and_read(const std::vector<std::string>& words, int ranks, const SystemView& view) {
  const Cgroups groups(view);
  const Ticks ticks = read_ticks(view);
  const std::int64_t throttled = groups.throttled_periods();
  try {
    const auto limit = kLimit + ranks * kLimitOfARank;
    const ProgramOutput told = run_program(words, environment_lines(), limit);
    if (told.timed_out) {
      return failed("the ranks did not end within " + std::to_string(limit.count()) +
                    " s: " + one_line(told.error_output));
    }
    if (told.exit_code != 0) {
      return failed("exit code " + std::to_string(told.exit_code) + ": " +
                    one_line(told.error_output));
    }
    Measurement result = read_result(told.output);
    const Ticks later = read_ticks(view);
    result.stolen_share = static_cast<double>(later.stolen - ticks.stolen) /
                          static_cast<double>(std::max<std::int64_t>(1, later.all - ticks.all));
    result.throttled_periods = groups.throttled_periods() - throttled;
    return result;
  } catch (const Error& e) {
    return failed(e.what());
  }
}

/// A directory that goes with its owner.
class LogDirectory {
 public:
  explicit LogDirectory(const std::string& temporary) : path_(temporary + "/muster-doctor-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) {
      throw ConfigError("muster doctor: expected to make a directory for logs, found that " +
                        path_ + " cannot be made; check TMPDIR");
    }
  }
  ~LogDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  LogDirectory(const LogDirectory&) = delete;
  LogDirectory& operator=(const LogDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

Measurement measure_in_node(const MeasureProgram& program, int ranks, const std::string& temporary,
                            const SystemView& view) try {
  const LogDirectory logs(temporary);
  const std::string muster = std::filesystem::read_symlink("/proc/self/exe");
  return run_and_read(
      {muster, "run", "-n", std::to_string(ranks), "--quiet", "--max-restarts", "0", "--grace", "1",
       "--log-dir", logs.path(), "--", program.path, "--bytes", std::to_string(program.bytes)},
      ranks, view);
} catch (const ConfigError& e) {
  return failed(e.what());
}

Measurement measure_by_mpirun(const MeasureProgram& program, const std::string& arguments,
                              const SystemView& view) {
  return run_and_read({"/bin/sh", "-c", "exec mpirun " + arguments + " \"$0\" --bytes \"$1\"",
                       program.path, std::to_string(program.bytes)},
                      0, view);
}

Measurement measure_as_rank(const MeasureProgram& program, int rank, const SystemView& view) {
  const std::vector<std::string> words = {program.path, "--bytes", std::to_string(program.bytes)};
  if (rank == 0) return run_and_read(words, 0, view);
  try {
    const ProgramOutput told = run_program(words, environment_lines(), kLimit);
    return told.exit_code == 0 ? Measurement() : failed(one_line(told.error_output));
  } catch (const Error& e) {
    return failed(e.what());
  }
}

}  // namespace muster::launcher::doctor
