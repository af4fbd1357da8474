// Threads, flush-to-zero and the fingerprint.
#include "numerics.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/native/DispatchStub.h>
#include <omp.h>
#include <torch/version.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "muster/base/error.h"
#include "muster/base/version.h"

namespace muster::internal {
namespace {

/// "GenuineIntel 6 143": vendor, family and model tell machine classes apart; steppings and clock
/// rates do not matter.
std::string cpu_class() {
  std::ifstream info("/proc/cpuinfo");
  std::string vendor, family, model, line;
  const auto value = [&](const char* key, std::string* out) {
    if (out->empty() && line.rfind(key, 0) == 0 && line.find(':') != std::string::npos) {
      const std::string name = line.substr(0, line.find_first_of("\t:"));
      if (name == key) *out = line.substr(line.find(':') + 2);
    }
  };
  while (std::getline(info, line)) {
    value("vendor_id", &vendor);
    value("cpu family", &family);
    value("model", &model);
    value("CPU implementer", &vendor);  // the names on aarch64
    value("CPU part", &model);
  }
  return vendor + " " + family + " " + model;
}

std::string environment_or_empty(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

void prepare_numerics(int threads) {
  omp_set_dynamic(0);
  if (omp_get_thread_limit() < threads) {
    throw ConfigError("environment: expected OMP_THREAD_LIMIT to allow " + std::to_string(threads) +
                      " threads, found a limit of " + std::to_string(omp_get_thread_limit()) +
                      "; unset it or lower --threads");
  }
  at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  at::globalContext().setFlushDenormal(false);
  int team = 0;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    team = omp_get_num_threads();
  }
  if (team != threads) {
    throw ConfigError("threads: expected a parallel region of " + std::to_string(threads) +
                      ", found " + std::to_string(team) +
                      "; check OMP_* variables and the limits on processes");
  }
}

Json numerics_fingerprint() {
  return {{"cpu", cpu_class()},
          {"capability", at::get_cpu_capability()},
          {"threads", at::get_num_threads()},
          {"libtorch", TORCH_VERSION},
          {"muster_numerics", kNumericsVersion},
          {"mkl_cbwr", environment_or_empty("MKL_CBWR")},
          {"onednn_max_cpu_isa", environment_or_empty("ONEDNN_MAX_CPU_ISA")}};
}

}  // namespace muster::internal
