// All judges, in the order in which the facts are printed.
#include "doctor/findings.h"

#include <algorithm>

#include "doctor/judges.h"

namespace muster::launcher::doctor {

const char* severity_name(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::vector<Finding> findings(const Facts& facts) {
  Verdicts verdicts;
  for (const auto judge :
       {judge_cpu, judge_memory, judge_kernel, judge_limits, judge_mpi, judge_build, judge_gpu,
        judge_network, judge_storage, judge_environment, judge_leftovers, judge_measurements}) {
    judge(facts, verdicts);
  }
  std::vector<Finding> all = verdicts.take();
  std::stable_sort(all.begin(), all.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return all;
}

int exit_code_of(std::span<const Finding> all) {
  Severity worst = Severity::kOk;
  for (const Finding& one : all) worst = std::max(worst, one.severity);
  if (worst == Severity::kError) return 2;
  return worst == Severity::kWarning ? 1 : 0;
}

std::int64_t bytes_to_measure(int ranks, std::int64_t usable_bytes) {
  constexpr std::int64_t kMost = std::int64_t{64} << 20;
  constexpr std::int64_t kFewest = std::int64_t{1} << 20;
  constexpr std::int64_t kBuffers = 4;  // what a rank needs of that size, and some
  constexpr std::int64_t kPartOfMemory = 4;
  const std::int64_t share = usable_bytes / kPartOfMemory / kBuffers / ranks;
  return std::clamp(share, kFewest, kMost) / 4096 * 4096;
}

int default_ranks(double usable_cores) { return std::clamp(static_cast<int>(usable_cores), 1, 8); }

std::string variable(const Facts& facts, const std::string& name) {
  const auto found = facts.environment.find(name);
  return found == facts.environment.end() ? "" : found->second;
}

}  // namespace muster::launcher::doctor
