// What other programs say of themselves: each mpirun in PATH, and the program that measures.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <sstream>

#include "doctor/ask_child.h"
#include "doctor/gather.h"
#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster::launcher::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kLimitOfMpirun{10};
constexpr std::chrono::seconds kLimitOfBuild{60};  // LibTorch from a slow network disk

std::vector<std::string> folders(const Environment& environment, const char* name) {
  const auto found = environment.find(name);
  std::istringstream stream(found == environment.end() ? "" : found->second);
  std::vector<std::string> all;
  for (std::string folder; std::getline(stream, folder, ':');) {
    if (!folder.empty()) all.push_back(folder);
  }
  return all;
}

/// The first word of `text` that begins with a digit, without what follows its last digit.
std::string version_in(const std::string& text) {
  for (std::string word : split_words(text)) {
    if (word.empty() || word[0] < '0' || word[0] > '9') continue;
    return word.substr(0, word.find_last_of("0123456789") + 1);
  }
  return "";
}

MpiRun understand(const std::string& path, const std::string& text) {
  MpiRun run;
  run.path = path;
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (has("Open MPI")) {
    run.family = "Open MPI";
  } else if (has("Intel(R) MPI")) {
    run.family = "Intel MPI";
  } else if (has("HYDRA")) {
    run.family = "MPICH";
  }
  if (!run.family.empty()) run.version = version_in(text.substr(0, text.find("Report bugs")));
  return run;
}

MpiRun ask_mpirun(const std::string& path) {
  std::vector<std::string> environment;
  for (const auto& [name, value] : own_environment()) environment.push_back(name + "=" + value);
  try {
    const ProgramOutput told = run_program({path, "--version"}, environment, kLimitOfMpirun);
    MpiRun run = understand(path, told.output + told.error_output);
    if (told.timed_out) {
      run.error = "no answer within " + std::to_string(kLimitOfMpirun.count()) + " s";
    } else if (run.family.empty()) {
      run.error = "it left with exit code " + std::to_string(told.exit_code) +
                  " and told no version that is understood";
    }
    return run;
  } catch (const Error& e) {
    return {path, "", "", e.what()};
  }
}

std::string last_line(const std::string& text) {
  std::istringstream stream(text);
  std::string last;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

void read_build(const Json& json, BuildFacts& facts) {
  const std::string origin = facts.program;
  facts.libtorch = json_field<std::string>(json, "libtorch", origin);
  facts.cpu_capability = json_field<std::string>(json, "cpu_capability", origin);
  facts.libtorch_has_cuda = json_field<bool>(json, "libtorch_has_cuda", origin);
  facts.transports = json_field<std::vector<std::string>>(json, "transports", origin);
  facts.mpi_built = json_field<std::string>(json, "mpi_built", origin);
  facts.mpi_loaded = json_field<std::string>(json, "mpi_loaded", origin);
  facts.mpi_survives_failures = json_field<bool>(json, "mpi_survives_failures", origin);
  facts.hdf5_built = json_field<std::string>(json, "hdf5_built", origin);
  facts.hdf5_loaded = json_field<std::string>(json, "hdf5_loaded", origin);
  facts.libraries = json_field<std::map<std::string, std::string>>(json, "libraries", origin);
}

}  // namespace

MpiFacts gather_mpi(const Environment& environment) {
  MpiFacts facts;
  std::set<fs::path> seen;
  for (const std::string& folder : folders(environment, "PATH")) {
    const std::string path = folder + "/mpirun";
    std::error_code error;
    const fs::path real = fs::weakly_canonical(path, error);
    if (access(path.c_str(), X_OK) != 0 || !seen.insert(real).second) continue;
    facts.runs.push_back(ask_mpirun(path));
  }
  for (const std::string& folder : folders(environment, "LD_LIBRARY_PATH")) {
    for (const std::string& name : SystemView().names(fs::absolute(folder))) {
      if (name.starts_with("libmpi.so.")) facts.libraries.push_back(folder + "/" + name);
    }
  }
  return facts;
}

BuildFacts gather_build(const std::string& program) {
  BuildFacts facts;
  if (access(program.c_str(), X_OK) != 0) return facts;
  facts.program = program;
  std::vector<std::string> environment;
  for (const auto& [name, value] : own_environment()) environment.push_back(name + "=" + value);
  try {
    const ProgramOutput told = run_program({program, "--build"}, environment, kLimitOfBuild);
    if (told.timed_out) {
      facts.error = "no answer within " + std::to_string(kLimitOfBuild.count()) + " s";
    } else if (told.exit_code != 0) {
      facts.error = last_line(told.error_output);
      if (facts.error.empty()) {
        facts.error = "it left with exit code " + std::to_string(told.exit_code);
      }
    } else {
      read_build(parse_json(told.output, program), facts);
    }
  } catch (const Error& e) {
    facts.error = e.what();
  }
  return facts;
}

}  // namespace muster::launcher::doctor
