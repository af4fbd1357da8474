// The flags of `muster doctor`.
#include "doctor/options.h"

#include <cstdint>

#include "muster/base/error.h"
#include "muster/base/node_memory.h"
#include "muster/base/options.h"

namespace muster::launcher::doctor {
namespace {

struct Flags {
  std::int64_t ranks = 0;
  std::int64_t threads = 1;
  std::string directory;
  std::string mpirun;
  bool json = false;
  bool no_measure = false;
};

OptionSet make_option_set(Flags& flags) {
  OptionSet set(
      "muster doctor",
      "Looks at this machine, measures all-reduce, and says what is wrong and what to do.\n"
      "usage: muster doctor [-n N] [flags]\n"
      "       mpirun ... muster doctor    measures these ranks too\n"
      "Leaves with 0 when nothing is wrong, 1 after warnings, 2 after errors (under mpirun "
      "always with 0).");
  set.add("ranks", &flags.ranks,
          "number of ranks to think of; -n N is the same; 0: one a usable core, at most 8");
  set.add("threads", &flags.threads, "threads of each rank");
  set.add("dir", &flags.directory, "directory for checkpoints, to be looked at as well");
  set.add("mpirun", &flags.mpirun,
          "measures by mpirun too, with these words: --mpirun \"-n 4 --hostfile hosts\"");
  set.add("json", &flags.json, "one JSON object (docs/doctor.md)");
  set.add("no-measure", &flags.no_measure, "only look: start no ranks, write no file");
  return set;
}

bool stands_alone(const std::string& flag) {
  return flag == "--json" || flag == "--no-measure" || flag == "--help" ||
         flag.find('=') != std::string::npos;
}

// A value is joined to its flag, so that a value such as "-n 4" is never taken for a flag.
std::vector<std::string> joined(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "-h") word = "--help";
    if (word == "-n") word = "--ranks";
    if (word.starts_with("-n=")) word = "--ranks=" + word.substr(3);
    if (!word.starts_with("--")) {
      throw ConfigError("muster doctor: expected flags only, found '" + word +
                        "'; see muster help doctor");
    }
    if (!stands_alone(word) && i + 1 < words.size()) word += "=" + words[++i];
    result.push_back(std::move(word));
  }
  return result;
}

void check_range(const char* flag, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  throw ConfigError(std::string("muster doctor: ") + flag + ": expected " + std::to_string(least) +
                    " to " + std::to_string(most) + ", found " + std::to_string(value) +
                    "; see muster help doctor");
}

}  // namespace

std::optional<DoctorOptions> parse_doctor_options(const std::vector<std::string>& words) {
  const std::vector<std::string> own = joined(words);
  std::vector<const char*> argv{"muster doctor"};
  for (const std::string& word : own) argv.push_back(word.c_str());
  Flags flags;
  OptionSet set = make_option_set(flags);
  if (set.parse(static_cast<int>(argv.size()), argv.data()) == OptionSet::Outcome::kHelp) {
    return std::nullopt;
  }
  constexpr std::int64_t kMostThreads = 4096;
  check_range("-n", flags.ranks, 0, kMaxLocalRanks);
  check_range("--threads", flags.threads, 1, kMostThreads);
  DoctorOptions options;
  if (flags.ranks > 0) options.ranks = static_cast<int>(flags.ranks);
  options.threads = static_cast<int>(flags.threads);
  options.directory = flags.directory;
  if (set.was_given("mpirun")) options.mpirun = flags.mpirun;
  options.json = flags.json;
  options.measure = !flags.no_measure;
  return options;
}

std::string doctor_help() {
  Flags flags;
  return make_option_set(flags).help();
}

}  // namespace muster::launcher::doctor
