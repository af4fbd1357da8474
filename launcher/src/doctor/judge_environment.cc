// Variables that change how ranks run, and the launcher that set them.
#include <algorithm>
#include <array>
#include <cctype>

#include "doctor/judges.h"
#include "doctor/quantities.h"
#include "doctor/system_view.h"

namespace muster::launcher::doctor {
namespace {

std::string assignment(const Facts& facts, const std::string& name) {
  return name + "=" + variable(facts, name);
}

std::int64_t number(const Facts& facts, const std::string& name) {
  return leading_number(variable(facts, name)).value_or(0);
}

void judge_threads(const Facts& facts, Verdicts& verdicts) {
  const Wanted& wanted = facts.wanted;
  const double usable = facts.cpu.usable_cores();
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}) {
    const std::int64_t threads = number(facts, name);
    if (threads <= 0 || static_cast<double>(threads * wanted.ranks) <= usable) continue;
    verdicts.note("environment.threads",
                  assignment(facts, name) + ", for " + count_text(wanted.ranks, "rank") + " on " +
                      cores_text(usable),
                  "a Trainer sets its threads by --threads and does not look at it; a program with "
                  "a loop of its own gets more threads than cores",
                  std::string("export ") + name + "=" +
                      std::to_string(std::max(1, static_cast<int>(usable / wanted.ranks))));
  }
  const std::int64_t limit = number(facts, "OMP_THREAD_LIMIT");
  if (limit > 0 && limit < wanted.threads) {
    verdicts.error("environment.thread_limit", assignment(facts, "OMP_THREAD_LIMIT"),
                   "ranks want " + count_text(wanted.threads, "thread") +
                       ", and programs refuse to start with fewer",
                   "unset OMP_THREAD_LIMIT");
  }
}

void judge_binding(const Facts& facts, Verdicts& verdicts) {
  if (facts.wanted.ranks < 2) return;
  for (const char* name : {"OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES"}) {
    std::string value = variable(facts, name);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (value.empty() || value == "false" || value == "disabled" || value == "none") continue;
    verdicts.warning("environment.binding", assignment(facts, name),
                     "each rank binds its threads by itself, and all of them to the same cores",
                     std::string("unset ") + name + "; let mpirun or srun bind ranks");
    return;
  }
}

struct Hurting {
  const char* name;
  const char* value;  ///< "" is any.
  const char* why;
};

constexpr std::array<Hurting, 11> kHurting = {{
    {"OMP_WAIT_POLICY", "active", "waiting threads keep cores busy that other ranks need"},
    {"KMP_BLOCKTIME", "infinite", "waiting threads keep cores busy that other ranks need"},
    {"MKL_DYNAMIC", "FALSE", "MKL takes all its threads inside parallel regions too"},
    {"CUDA_LAUNCH_BLOCKING", "1",
     "each kernel is waited for: a debugging aid that costs half the "
     "speed or more"},
    {"NCCL_P2P_DISABLE", "1", "GPUs exchange through the processor's memory"},
    {"NCCL_SHM_DISABLE", "1", "processes of a node exchange over the network"},
    {"NCCL_IB_DISABLE", "1", "NCCL does not use InfiniBand"},
    {"TORCH_SHOW_CPP_STACKTRACES", "1", "each exception collects a stack trace"},
    {"MKL_DEBUG_CPU_TYPE", "", "it forces code paths of another processor"},
    {"LD_PRELOAD", "",
     "every rank loads it; what replaces malloc or the math library changes speed "
     "and perhaps results"},
    {"MALLOC_ARENA_MAX", "1", "threads of a rank wait for each other to get memory"},
}};

void judge_hurting(const Facts& facts, Verdicts& verdicts) {
  for (const Hurting& one : kHurting) {
    std::string value = variable(facts, one.name);
    if (value.empty() || (*one.value != '\0' && value != one.value)) continue;
    verdicts.warning("environment.slows", assignment(facts, one.name), one.why,
                     std::string("unset ") + one.name + ", unless you set it for a reason");
  }
  for (const char* name : {"MKL_CBWR", "ONEDNN_MAX_CPU_ISA"}) {
    if (variable(facts, name).empty()) continue;
    verdicts.note("environment.numerics", assignment(facts, name),
                  "it changes results, and so is part of the numerics fingerprint: a job goes on "
                  "only where it has the same value");
  }
}

void judge_launcher(const Facts& facts, Verdicts& verdicts) {
  const auto is_set = [&](const char* name) { return !variable(facts, name).empty(); };
  const bool under_mpirun = is_set("OMPI_COMM_WORLD_RANK");
  for (const char* name : {"MUSTER_RANK", "MUSTER_WORLD_SIZE"}) {
    if (!is_set(name)) continue;
    verdicts.warning("environment.muster", assignment(facts, name) + " is set outside of a rank",
                     "a program started here takes itself for that rank and waits for the others",
                     "unset MUSTER_RANK MUSTER_WORLD_SIZE; run muster doctor from a shell");
    break;
  }
  const std::int64_t tasks = number(facts, "SLURM_STEP_NUM_TASKS");
  if (tasks > 1 && !is_set("PMIX_RANK") && !under_mpirun) {
    verdicts.error("slurm.no_pmix",
                   "this step has " + std::to_string(tasks) +
                       " tasks, which cannot find each other: there is no PMIX_RANK",
                   "each task would be a world of one; programs refuse that",
                   "srun --mpi=pmix, or one task a node with muster run");
  } else if (number(facts, "SLURM_NTASKS") > 1 && tasks == 0 && !under_mpirun) {
    verdicts.note("slurm.batch", assignment(facts, "SLURM_NTASKS") + " in a batch script",
                  "a program started here without srun or mpirun is alone",
                  "srun --mpi=pmix PROGRAM, mpirun PROGRAM, or muster run -n N -- PROGRAM");
  }
}

}  // namespace

void judge_environment(const Facts& facts, Verdicts& verdicts) {
  judge_threads(facts, verdicts);
  judge_binding(facts, verdicts);
  judge_hurting(facts, verdicts);
  judge_launcher(facts, verdicts);
}

}  // namespace muster::launcher::doctor
