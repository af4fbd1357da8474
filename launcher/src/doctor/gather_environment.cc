// The variables that concern a job.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "doctor/gather.h"

extern "C" char** environ;

namespace muster::launcher::doctor {
namespace {

constexpr std::array<std::string_view, 19> kPrefixes = {
    "SLURM_",  "MUSTER_", "OMPI_",    "PRTE_",   "PMIX_", "PMI_",  "OMP_",
    "GOMP_",   "KMP_",    "MKL_",     "ONEDNN_", "DNNL_", "NCCL_", "CUDA_",
    "NVIDIA_", "TORCH_",  "PYTORCH_", "HDF5_",   "UCX_"};
constexpr std::array<std::string_view, 6> kNames = {"LD_LIBRARY_PATH",  "LD_PRELOAD",
                                                    "MALLOC_ARENA_MAX", "TMPDIR",
                                                    "GLOG_minloglevel", "OPENBLAS_NUM_THREADS"};
constexpr std::array<std::string_view, 5> kSecretParts = {"TOKEN", "JWT", "SECRET", "PASSWORD",
                                                          "KEY"};

bool is_relevant(std::string_view name) {
  const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
  const auto has = [&](std::string_view part) { return name.find(part) != name.npos; };
  if (std::any_of(kSecretParts.begin(), kSecretParts.end(), has)) return false;
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), begins) ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

}  // namespace

Environment own_environment() {
  Environment all;
  for (char** line = environ; *line != nullptr; ++line) {
    const std::string text = *line;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) all[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return all;
}

Environment relevant_environment(const Environment& all) {
  Environment chosen;
  for (const auto& [name, value] : all) {
    if (is_relevant(name)) chosen[name] = value;
  }
  return chosen;
}

}  // namespace muster::launcher::doctor
