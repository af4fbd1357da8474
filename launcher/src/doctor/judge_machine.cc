// Cores and memory.
#include <algorithm>
#include <cmath>

#include "doctor/judges.h"
#include "doctor/quantities.h"

namespace muster::launcher::doctor {
namespace {

// LibTorch and a small model; what a real model needs is the user's to know.
constexpr std::int64_t kLeastRankBytes = 256 * kMiB;
constexpr std::int64_t kUsualRankBytes = 1024 * kMiB;

std::string ranks_and_threads(const Wanted& wanted) {
  return count_text(wanted.ranks, "rank") + " of " + count_text(wanted.threads, "thread");
}

/// What makes fewer cores usable than there are; empty when nothing does.
std::string restriction(const CpuFacts& cpu) {
  std::string text;
  if (static_cast<int>(cpu.allowed.size()) < cpu.online) {
    text = "the affinity mask allows " + std::to_string(cpu.allowed.size()) + " of " +
           std::to_string(cpu.online);
  }
  if (cpu.quota_cores && *cpu.quota_cores < static_cast<double>(cpu.allowed.size())) {
    text += (text.empty() ? "" : ", ") +
            ("the control group's quota is " + cores_text(*cpu.quota_cores));
  }
  return text;
}

void judge_oversubscription(const Facts& facts, Verdicts& verdicts) {
  const CpuFacts& cpu = facts.cpu;
  const double usable = cpu.usable_cores();
  const int busy = facts.wanted.ranks * facts.wanted.threads;
  const std::string limits = restriction(cpu);
  const std::string there =
      cores_text(usable) + " usable" + (limits.empty() ? "" : " (" + limits + ")");
  if (busy > usable) {
    const int fitting = std::max(1, static_cast<int>(usable / facts.wanted.threads));
    verdicts.warning(
        "cpu.oversubscribed", ranks_and_threads(facts.wanted) + " on " + there,
        "ranks wait for each other at every step, so each step lasts as long as the rank that got "
        "least of a core",
        "start " + count_text(fitting, "rank") +
            (limits.empty() ? ""
                            : ", or ask the scheduler or container for more cores "
                              "(srun --cpus-per-task, docker --cpus)"));
    return;
  }
  verdicts.ok("cpu.cores", ranks_and_threads(facts.wanted) + " fit into " + there);
  if (!limits.empty()) {
    verdicts.note("cpu.restricted", limits,
                  "tools that count the machine's cores see more than a job gets");
  }
  if (busy > cpu.allowed_physical_cores && cpu.allowed_physical_cores > 0) {
    verdicts.note("cpu.shared_cores",
                  ranks_and_threads(facts.wanted) + " on " +
                      count_text(cpu.allowed_physical_cores, "physical core"),
                  "two hardware threads of a core share its arithmetic units",
                  "try " + std::to_string(cpu.allowed_physical_cores) +
                      " threads in all, and keep what is faster");
  }
}

}  // namespace

void judge_cpu(const Facts& facts, Verdicts& verdicts) {
  const CpuFacts& cpu = facts.cpu;
  judge_oversubscription(facts, verdicts);
  if (cpu.load > cpu.usable_cores() / 2) {
    verdicts.note("cpu.busy", "the load of the last minute was " + cores_text(cpu.load),
                  "others may use the cores; what is measured is then a lower bound",
                  "look with top, and run muster doctor again on a quiet machine");
  }
  if (cpu.governor == "powersave") {
    verdicts.note("cpu.governor", "the clock's governor is powersave",
                  "with some drivers it keeps the clock low; with intel_pstate and amd-pstate it "
                  "does not",
                  "compare with: cpupower frequency-set -g performance");
  }
  if (cpu.numa_nodes.size() > 1) {
    verdicts.note("numa.nodes",
                  count_text(static_cast<std::int64_t>(cpu.numa_nodes.size()), "NUMA node") +
                      (cpu.numa_balancing ? ", and the kernel moves pages between them" : ""),
                  "memory of another node is slower; ranks that wander lose what is near to them",
                  "keep ranks in place: mpirun --bind-to numa, or a muster run under numactl for "
                  "each half of the job");
  }
}

void judge_memory(const Facts& facts, Verdicts& verdicts) {
  const MemoryFacts& memory = facts.memory;
  const std::int64_t usable = memory.usable_bytes();
  const std::int64_t each = usable / std::max(1, facts.wanted.ranks);
  const std::string found =
      bytes_text(usable) + " usable" +
      (memory.cgroup_limit_bytes
           ? " (the control group's limit is " + bytes_text(*memory.cgroup_limit_bytes) + ")"
           : "") +
      ", " + bytes_text(each) + " a rank";
  if (each < kLeastRankBytes) {
    verdicts.error("memory.low", found,
                   "a program with LibTorch takes " + bytes_text(kLeastRankBytes) +
                       " before it has a model; the kernel kills what takes more than there is",
                   "start fewer ranks, or give the job more memory (srun --mem, docker --memory)");
  } else if (each < kUsualRankBytes) {
    verdicts.warning(
        "memory.low", found,
        "that is enough for small models only; the kernel kills what takes more",
        "start fewer ranks, or give the job more memory (srun --mem, docker --memory)");
  } else {
    verdicts.ok("memory.free", found);
  }
  if (memory.cgroup_limit_bytes && *memory.cgroup_limit_bytes < memory.total_bytes) {
    verdicts.note("memory.control_group",
                  "the control group's limit is " + bytes_text(*memory.cgroup_limit_bytes) +
                      " of " + bytes_text(memory.total_bytes),
                  "it counts shared memory and cached files too; what passes it is killed by "
                  "SIGKILL, though free says that there is memory");
  }
  if (memory.swap_used_bytes > memory.total_bytes / 20) {
    verdicts.warning("memory.swap", bytes_text(memory.swap_used_bytes) + " are swapped out",
                     "a rank that waits for swap holds up all others",
                     "find what took the memory (top), or start fewer ranks");
  }
  if (memory.overcommit == 2) {
    verdicts.warning("memory.overcommit", "vm.overcommit_memory is 2",
                     "programs with LibTorch reserve more address space than they use, and the "
                     "kernel then refuses it while there is memory",
                     "sysctl vm.overcommit_memory=0");
  }
  if (memory.huge_pages == "never") {
    verdicts.note("memory.huge_pages", "transparent huge pages are off",
                  "large tensors then take a page-table entry for each 4 KiB",
                  "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
  } else if (memory.huge_pages == "always") {
    verdicts.note("memory.huge_pages", "transparent huge pages are always on",
                  "quick for large tensors; resident memory can be larger than what was asked for");
  }
}

}  // namespace muster::launcher::doctor
