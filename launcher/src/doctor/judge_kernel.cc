// What the kernel lets this user do, and what others left behind.
#include <algorithm>

#include "doctor/judges.h"
#include "doctor/probes.h"
#include "doctor/quantities.h"
#include "muster/base/node_memory.h"

namespace muster::launcher::doctor {
namespace {

std::string limit_text(const Limit& limit) { return limit ? std::to_string(*limit) : "unlimited"; }

void judge_probe(const Probe& probe, const SystemFacts& system, Verdicts& verdicts) {
  const std::string found = probe.name + " does not work: " + probe.error;
  const std::string profile =
      system.seccomp || !system.container.empty()
          ? "this process is confined (seccomp or a container): allow the call in its profile"
          : "use Linux 5.4 or newer, and look at ulimit -a";
  if (probe.name == kPeerMemoryProbe) {
    const std::string scope = system.ptrace_scope > 0 ? "kernel.yama.ptrace_scope is " +
                                                            std::to_string(system.ptrace_scope) +
                                                            ": sysctl kernel.yama.ptrace_scope=0"
                                                      : "docker run --cap-add=SYS_PTRACE";
    verdicts.note("kernel.peer_memory", found,
                  "Muster does without; Open MPI copies large messages between local ranks twice "
                  "instead of once",
                  scope);
  } else if (probe.name == kPidfdProbe) {
    verdicts.note("kernel.pidfd", found,
                  "nothing of this version needs it; it tells of an old kernel or a tight profile",
                  profile);
  } else if (probe.name == kOrphansProbe) {
    verdicts.warning("kernel.orphans", found, "what a killed rank had started would go on running",
                     profile);
  } else {
    verdicts.error("kernel.forbidden", found, "ranks of a node share their memory in this way",
                   profile);
  }
}

/// Shared memory is a file without a name, as large as any job needs; beyond the limit the kernel
/// ends the process by SIGXFSZ.
bool forbids_shared_memory(const LimitFacts& limits) {
  return limits.file_bytes.soft &&
         *limits.file_bytes.soft < static_cast<std::int64_t>(NodeMemory::kCapacityBytes);
}

}  // namespace

void judge_kernel(const Facts& facts, Verdicts& verdicts) {
  const auto& probes = facts.system.probes;
  for (const Probe& probe : probes) {
    const bool told_elsewhere = forbids_shared_memory(facts.limits) &&
                                (probe.name == kSharedMemoryProbe || probe.name == kDeathProbe);
    if (!probe.works && !told_elsewhere) judge_probe(probe, facts.system, verdicts);
  }
  if (!facts.system.temporary_error.empty()) {
    verdicts.warning("system.temporary",
                     "nothing can be made in " + facts.system.temporary_directory + ": " +
                         facts.system.temporary_error,
                     "mpirun keeps its sessions there, and muster doctor the logs of its ranks",
                     "export TMPDIR=/tmp, or another directory that is there");
  }
  if (!probes.empty() &&
      std::all_of(probes.begin(), probes.end(), [](const Probe& probe) { return probe.works; })) {
    verdicts.ok("kernel.facilities",
                "the kernel's facilities that Muster and Open MPI use were tried, and work");
  }
  const MemoryFacts& memory = facts.memory;
  constexpr std::int64_t kSegmentBytes = 16 * kMiB;  // of Open MPI, for each rank of a node
  if (memory.dev_shm_bytes && memory.dev_shm_free_bytes < facts.wanted.ranks * kSegmentBytes) {
    verdicts.note("shm.small",
                  "/dev/shm has " + bytes_text(memory.dev_shm_free_bytes) + " free of " +
                      bytes_text(*memory.dev_shm_bytes),
                  "Muster's shared memory is no file in /dev/shm and does not need it; Open MPI "
                  "(16 MiB a rank), NCCL and PyTorch's data loaders do",
                  "only for those: docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm");
  }
}

void judge_limits(const Facts& facts, Verdicts& verdicts) {
  const LimitFacts& limits = facts.limits;
  // The launcher holds pipes, a log and a control channel for each rank.
  const std::int64_t needed_files = 64 + 16 * static_cast<std::int64_t>(facts.wanted.ranks);
  constexpr std::int64_t kPlentyOfFiles = 4096;
  const std::int64_t hard = limits.open_files.hard.value_or(65536);
  const std::string raise =
      "ulimit -n " + std::to_string(std::max(kPlentyOfFiles, std::min<std::int64_t>(hard, 65536))) +
      (hard < kPlentyOfFiles ? " as root, or nofile in /etc/security/limits.conf" : "");
  const std::string files = "a process may open " + limit_text(limits.open_files.soft) +
                            " files (at most " + limit_text(limits.open_files.hard) + ")";
  if (limits.open_files.soft && *limits.open_files.soft < needed_files) {
    verdicts.error("limits.open_files", files,
                   "the launcher needs " + std::to_string(needed_files) + " for " +
                       count_text(facts.wanted.ranks, "rank"),
                   raise);
  } else if (limits.open_files.soft && *limits.open_files.soft < kPlentyOfFiles) {
    verdicts.warning("limits.open_files", files,
                     "data sets of many shards, sockets to many ranks and loaded libraries all "
                     "count",
                     raise);
  } else {
    verdicts.ok("limits.open_files", files);
  }

  // Threads count as processes: a rank's own, its progress, its checkpoint writer, its loaders.
  const std::int64_t needed_processes =
      facts.wanted.ranks * (static_cast<std::int64_t>(facts.wanted.threads) + 8) + 32;
  Limit left;
  if (!facts.system.root) left = limits.processes.soft;  // root is exempt from it
  if (limits.cgroup_processes) {
    const std::int64_t of_group = *limits.cgroup_processes - limits.cgroup_processes_used;
    left = std::min(left.value_or(of_group), of_group);
  }
  if (left && *left < needed_processes) {
    verdicts.error(
        "limits.processes", "at most " + std::to_string(*left) + " processes and threads",
        count_text(facts.wanted.ranks, "rank") + " may take " + std::to_string(needed_processes),
        "ulimit -u " + std::to_string(4 * needed_processes) +
            ", or raise the control group's pids.max (docker --pids-limit)");
  }
  constexpr std::int64_t kPlentyOfAddresses = std::int64_t{64} << 30;
  if (limits.address_space_bytes.soft && *limits.address_space_bytes.soft < kPlentyOfAddresses) {
    verdicts.warning("limits.address_space",
                     "a process may map " + bytes_text(*limits.address_space_bytes.soft),
                     "shared memory, libraries and threads' stacks are mapped many times over "
                     "before they are used; CUDA maps more than the machine has",
                     "ulimit -v unlimited");
  }
  if (forbids_shared_memory(limits)) {
    verdicts.error("limits.file_size",
                   "a process may write files of " + bytes_text(*limits.file_bytes.soft),
                   "the shared memory of a node is a file in memory of " +
                       bytes_text(static_cast<std::int64_t>(NodeMemory::kCapacityBytes)) +
                       ", of which only what is used is taken",
                   "ulimit -f unlimited");
  }
  const bool infiniband = !facts.network.infiniband.empty();
  if (infiniband && limits.locked_memory_bytes.soft) {
    verdicts.warning(
        "limits.locked_memory",
        "there is InfiniBand, and a process may lock " +
            bytes_text(*limits.locked_memory_bytes.soft),
        "the adapter reads and writes locked memory only; without it Open MPI and NCCL "
        "fall back to TCP or fail",
        "ulimit -l unlimited (memlock in /etc/security/limits.conf; for Slurm "
        "LimitMEMLOCK=infinity in slurmd's unit)");
  }
}

void judge_leftovers(const Facts& facts, Verdicts& verdicts) {
  if (facts.leftovers.empty()) return;
  std::int64_t bytes = 0;
  std::string paths;
  constexpr std::size_t kMostNamed = 8;
  for (std::size_t i = 0; i < facts.leftovers.size(); ++i) {
    bytes += facts.leftovers[i].bytes;
    if (i < kMostNamed) paths += " " + facts.leftovers[i].path;
  }
  if (facts.leftovers.size() > kMostNamed) paths += " ...";
  const std::string found = count_text(static_cast<std::int64_t>(facts.leftovers.size()), "file") +
                            " of dead Open MPI processes, " + bytes_text(bytes) + " of memory";
  const std::string why =
      "killed runs leave their segments, which are memory until they are "
      "removed";
  if (bytes > facts.memory.total_bytes / 100) {
    verdicts.warning("leftovers.open_mpi", found, why, "rm -r" + paths);
  } else {
    verdicts.note("leftovers.open_mpi", found, why, "rm -r" + paths);
  }
}

}  // namespace muster::launcher::doctor
