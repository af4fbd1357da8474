// Asking the libraries themselves.
#include "build_facts.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "muster/checkpoint/hdf5_versions.h"
#include "muster/collectives/mpi_versions.h"

namespace muster::doctor {
namespace {

/// "libmpi" -> "/usr/lib/libmpi.so.40.30.4", for those libraries that come in several
/// installations.
std::map<std::string, std::string> loaded_files() {
  std::map<std::string, std::string> files;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t begin = line.find('/');
    if (begin == std::string::npos) continue;
    const std::string path = line.substr(begin);
    const std::string file = path.substr(path.rfind('/') + 1);
    const std::string name = file.substr(0, file.find(".so"));
    for (const char* wanted :
         {"libmpi", "libtorch_cpu", "libhdf5", "libhdf5_serial", "libcudart"}) {
      if (name == wanted) files[name] = path;
    }
  }
  return files;
}

/// Programs load its CUDA part only where they ask for it, so its file is looked for.
bool has_cuda_part(const std::map<std::string, std::string>& files) {
  const auto found = files.find("libtorch_cpu");
  if (found == files.end()) return false;
  const std::filesystem::path folder = std::filesystem::path(found->second).parent_path();
  return std::filesystem::exists(folder / "libtorch_cuda.so");
}

/// How the ranks of this build's programs can reach each other.
std::vector<std::string> transports(const MpiVersions& mpi) {
  std::vector<std::string> names{"shared memory"};
  if (!mpi.built.empty()) names.emplace_back("MPI");
#ifdef MUSTER_DOCTOR_CUDA_IS_BUILT
  names.emplace_back("NCCL");
#endif
  return names;
}

}  // namespace

Json build_facts() {
  const std::map<std::string, std::string> files = loaded_files();
  const MpiVersions mpi = mpi_versions();
  const checkpoint::Hdf5Versions hdf5 = checkpoint::hdf5_versions();
  return {{"libtorch", TORCH_VERSION},
          {"cpu_capability", at::get_cpu_capability()},
          {"libtorch_has_cuda", has_cuda_part(files)},
          {"transports", transports(mpi)},
          {"mpi_built", mpi.built},
          {"mpi_loaded", mpi.loaded},
          {"mpi_survives_failures", mpi.survives_failures},
          {"hdf5_built", hdf5.built},
          {"hdf5_loaded", hdf5.loaded},
          {"libraries", files}};
}

}  // namespace muster::doctor
