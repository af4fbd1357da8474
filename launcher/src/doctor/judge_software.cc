// MPI, and what this build's programs load.
#include <filesystem>

#include "doctor/judges.h"
#include "doctor/quantities.h"

namespace muster::launcher::doctor {
namespace {

std::string name_of(const MpiRun& run) { return run.family + " " + run.version; }

/// "Open MPI 5.0.11" -> "Open MPI 5.0": releases of one series work together.
std::string series(const std::string& name) {
  const std::size_t last = name.rfind('.');
  return last == std::string::npos || name.find('.') == last ? name : name.substr(0, last);
}

/// True when two paths are of one installation: PREFIX/bin/mpirun and PREFIX/lib/libmpi.so.40.
bool same_installation(const std::string& run, const std::string& library) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path prefix = fs::weakly_canonical(run, error).parent_path().parent_path();
  const std::string file = fs::weakly_canonical(library, error).string();
  return file.starts_with(prefix.string() + "/");
}

void judge_versions(const Facts& facts, Verdicts& verdicts) {
  const MpiRun& first = facts.mpi.runs.front();
  const BuildFacts& build = facts.build;
  if (first.version.empty()) {
    verdicts.warning("mpi.unknown", first.path + " tells no version: " + first.error,
                     "an mpirun that cannot start cannot start ranks",
                     "put the mpirun of " + build.mpi_built + " first in PATH (. scripts/env)");
    return;
  }
  const std::string found =
      first.path + " is of " + name_of(first) + "; this build was made with " + build.mpi_built;
  if (series(name_of(first)) != series(build.mpi_built)) {
    verdicts.error("mpi.version", found,
                   "its ranks cannot join each other: each becomes a world of one, or fails to "
                   "start",
                   "put the mpirun of " + build.mpi_built +
                       " first in PATH (. scripts/env), or build with -DMPI_HOME of the other");
  } else {
    verdicts.ok("mpi.version",
                first.path + " is of " + name_of(first) + ", as what this build was made with");
  }
  for (std::size_t i = 1; i < facts.mpi.runs.size(); ++i) {
    const MpiRun& other = facts.mpi.runs[i];
    if (other.version.empty() || series(name_of(other)) == series(name_of(first))) continue;
    verdicts.note(
        "mpi.several",
        first.path + " (" + name_of(first) + ") hides " + other.path + " (" + name_of(other) + ")",
        "another order of PATH, as on another node, starts the other");
    break;
  }
}

void judge_libraries(const Facts& facts, Verdicts& verdicts) {
  const BuildFacts& build = facts.build;
  if (!build.mpi_loaded.empty() && series(build.mpi_loaded) != series(build.mpi_built)) {
    verdicts.error("mpi.library",
                   "programs load " + build.mpi_loaded + " and were built with " + build.mpi_built,
                   "the two lay out their handles differently: crashes and silent worlds of one",
                   "take the other one out of LD_LIBRARY_PATH");
  }
  const auto loaded = build.libraries.find("libmpi");
  if (loaded == build.libraries.end()) return;
  for (const std::string& library : facts.mpi.libraries) {
    std::error_code error;
    if (std::filesystem::equivalent(library, loaded->second, error)) continue;
    if (!facts.mpi.runs.empty() && same_installation(facts.mpi.runs.front().path, library)) {
      continue;
    }
    verdicts.warning("mpi.library_path",
                     "LD_LIBRARY_PATH has " + library + "; programs load " + loaded->second,
                     "what is started by name may load the one, and what has a path of its own the "
                     "other",
                     "keep one MPI in LD_LIBRARY_PATH");
    return;
  }
}

void judge_root(const Facts& facts, Verdicts& verdicts) {
  const auto is_set = [&](const char* name) { return !variable(facts, name).empty(); };
  const bool allowed = is_set("OMPI_ALLOW_RUN_AS_ROOT") && is_set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM");
  if (!facts.system.root || allowed || facts.mpi.runs.front().family != "Open MPI") return;
  verdicts.warning("mpi.root", "this is root, and OMPI_ALLOW_RUN_AS_ROOT is not set",
                   "Open MPI's mpirun refuses to start as root unless told twice",
                   ". scripts/env, or export OMPI_ALLOW_RUN_AS_ROOT=1 "
                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 "
                   "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1");
}

}  // namespace

void judge_mpi(const Facts& facts, Verdicts& verdicts) {
  const BuildFacts& build = facts.build;
  if (!build.libtorch.empty() && build.mpi_built.empty()) {
    verdicts.note("mpi.not_built", "this build has no MPI",
                  "several ranks on one node need none (muster run); several nodes do",
                  "run scripts/setup and configure again, or -DMUSTER_MPI=ON");
    return;
  }
  if (facts.mpi.runs.empty()) {
    const std::string action = ". scripts/env, or put Open MPI's bin directory in PATH";
    if (facts.wanted.mpirun) {
      verdicts.error("mpi.absent", "there is no mpirun in PATH", "--mpirun was asked for", action);
    } else {
      verdicts.note("mpi.absent", "there is no mpirun in PATH",
                    "several ranks on one node need none (muster run); several nodes do", action);
    }
    return;
  }
  if (!build.mpi_built.empty()) {
    judge_versions(facts, verdicts);
    judge_libraries(facts, verdicts);
    if (!build.mpi_survives_failures) {
      verdicts.note("mpi.ulfm", build.mpi_built + " has no ULFM",
                    "between nodes a lost process ends the whole job, which then starts again",
                    "build with Open MPI 5");
    }
  }
  judge_root(facts, verdicts);
}

void judge_build(const Facts& facts, Verdicts& verdicts) {
  const BuildFacts& build = facts.build;
  if (build.program.empty()) {
    verdicts.warning("build.absent", "there is no muster-doctor-measure beside muster",
                     "what training programs load cannot be told, and nothing can be measured",
                     "install or build all of Muster (cmake --build --preset release)");
    return;
  }
  if (!build.error.empty()) {
    verdicts.error("build.broken", build.program + " does not start: " + build.error,
                   "training programs load the same libraries, and so do not start either",
                   "run it by hand with --build, and look with ldd at what it does not find");
    return;
  }
  verdicts.ok("build.starts", "a program of this build starts, with LibTorch " + build.libtorch);
  if (build.hdf5_built != build.hdf5_loaded) {
    verdicts.error(
        "build.hdf5",
        "programs load HDF5 " + build.hdf5_loaded + " and were built with " + build.hdf5_built,
        "HDF5 ends the process at the first checkpoint",
        "take the other one out of LD_LIBRARY_PATH, or build again");
  }
}

}  // namespace muster::launcher::doctor
