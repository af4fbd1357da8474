// What is wrong with fabricated machines: findings() is a function of values.
#include <gmock/gmock.h>

#include <functional>

#include "doctor/findings.h"
#include "doctor/probes.h"
#include "launcher/muster_process.h"

namespace muster::launcher::doctor {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

Measurement healthy_measurement(int ranks) {
  Measurement m;
  m.transport = "shm";
  m.copy_alone_bytes_per_second = 12e9;
  for (int rank = 0; rank < ranks; ++rank) m.ranks.push_back({rank, "node-a", 1.0, 10e9, kGiB / 4});
  m.all_reduce = {{1024, 2e-6, 1.5e-6}, {64 << 20, 8e-3, 7e-3}};
  return m;
}

/// A machine of 8 cores with nothing wrong.
Facts healthy() {
  Facts facts;
  facts.wanted = {4, 1, false};
  facts.cpu.online = 8;
  facts.cpu.physical_cores = 8;
  facts.cpu.sockets = 1;
  facts.cpu.allowed = {0, 1, 2, 3, 4, 5, 6, 7};
  facts.cpu.allowed_physical_cores = 8;
  facts.memory.total_bytes = 64 * kGiB;
  facts.memory.available_bytes = 60 * kGiB;
  facts.memory.huge_pages = "madvise";
  facts.memory.dev_shm_bytes = 32 * kGiB;
  facts.memory.dev_shm_free_bytes = 32 * kGiB;
  facts.system.probes = {{kSharedMemoryProbe, true, ""}, {kPidfdProbe, true, ""}};
  facts.limits.open_files = {65536, 65536};
  facts.mpi.runs = {{"/opt/ompi/bin/mpirun", "Open MPI", "5.0.11", ""}};
  facts.build.program = "/bin/muster-doctor-measure";
  facts.build.libtorch = "2.11.0";
  facts.build.libtorch_has_cuda = true;
  facts.build.mpi_built = "Open MPI 5.0.11";
  facts.build.mpi_loaded = "Open MPI 5.0.11";
  facts.build.mpi_survives_failures = true;
  facts.build.hdf5_built = "1.10.8";
  facts.build.hdf5_loaded = "1.10.8";
  facts.network.interfaces = {{"eth0", true, false, true, 10000, 9000},
                              {"lo", true, true, false, 0, 65536}};
  facts.in_node = healthy_measurement(4);
  return facts;
}

void add_gpus(Facts& facts) {
  facts.gpu.driver = "580.65.06";
  facts.gpu.devices_of_driver = 2;
  facts.gpu.cuda_of_driver = 13000;
  facts.gpu.cuda_runtime = 13000;
  facts.gpu.nccl = 22809;
  facts.gpu.devices = {{"NVIDIA H200", "0000:0f:00.0", 140 * kGiB, 0, 0, 0, false, 18, 16, 16},
                       {"NVIDIA H200", "0000:1f:00.0", 140 * kGiB, 0, 0, 0, false, 18, 16, 16}};
  facts.gpu.pairs = {{0, 1, "NVLink", true}};
}

void add_disk(Facts& facts) {
  facts.storage =
      StorageFacts{"/data", "", "ext4", 1000 * kGiB, 500 * kGiB, 1000000, false, false, true, 1e9};
}

void use_two_hosts(Facts& facts) {
  Measurement m = healthy_measurement(4);
  m.transport = "mpi";
  m.ranks[2].host = m.ranks[3].host = "node-b";
  // 10 Gbit/s are 1.25 GB/s; 64 MiB between two nodes at that speed take 54 ms.
  m.all_reduce.back() = {64 << 20, 62e-3, 60e-3};
  m.broadcasts = {{"node-a", 1.1e9}, {"node-b", 1.1e9}};
  facts.over_mpi = m;
}

const Finding* find(const std::vector<Finding>& all, const std::string& id) {
  for (const Finding& one : all) {
    if (one.id == id) return &one;
  }
  return nullptr;
}

TEST(DoctorFindings, AHealthyMachineHasNothingToDo) {
  Facts facts = healthy();
  for (int more = 0; more < 4; ++more) {
    if (more == 1) add_gpus(facts);
    if (more == 2) add_disk(facts);
    if (more == 3) use_two_hosts(facts);
    const auto all = findings(facts);
    for (const Finding& one : all) EXPECT_EQ(one.severity, Severity::kOk) << one.id << one.found;
    EXPECT_EQ(exit_code_of(all), 0);
  }
}

struct Case {
  const char* id;
  Severity severity;
  std::function<void(Facts&)> harm;
};

std::vector<Case> cases() {
  const auto variable = [](const char* name, const char* value) {
    return [=](Facts& f) { f.environment[name] = value; };
  };
  constexpr Severity kNote = Severity::kNote, kWarning = Severity::kWarning,
                     kError = Severity::kError;
  return {
      {"cpu.oversubscribed", kWarning, [](Facts& f) { f.wanted.ranks = 9; }},
      {"cpu.oversubscribed", kWarning, [](Facts& f) { f.wanted.threads = 3; }},
      {"cpu.oversubscribed", kWarning, [](Facts& f) { f.cpu.quota_cores = 3.5; }},
      {"cpu.oversubscribed", kWarning,
       [](Facts& f) {
         f.cpu.allowed = {0, 1};
       }},
      {"cpu.restricted", kNote, [](Facts& f) { f.cpu.quota_cores = 4; }},
      {"cpu.restricted", kNote,
       [](Facts& f) {
         f.cpu.allowed = {0, 1, 2, 3};
       }},
      {"cpu.shared_cores", kNote, [](Facts& f) { f.cpu.allowed_physical_cores = 3; }},
      {"cpu.busy", kNote, [](Facts& f) { f.cpu.load = 5; }},
      {"cpu.governor", kNote, [](Facts& f) { f.cpu.governor = "powersave"; }},
      {"numa.nodes", kNote, [](Facts& f) { f.cpu.numa_nodes.resize(2); }},
      {"memory.low", kError, [](Facts& f) { f.memory.available_bytes = kGiB / 2; }},
      {"memory.low", kWarning, [](Facts& f) { f.memory.available_bytes = 3 * kGiB; }},
      {"memory.low", kError,
       [](Facts& f) {
         f.memory.cgroup_limit_bytes = 8 * kGiB;
         f.memory.cgroup_used_bytes = 8 * kGiB - kGiB / 2;
       }},
      {"memory.control_group", kNote, [](Facts& f) { f.memory.cgroup_limit_bytes = 8 * kGiB; }},
      {"memory.swap", kWarning, [](Facts& f) { f.memory.swap_used_bytes = 4 * kGiB; }},
      {"memory.overcommit", kWarning, [](Facts& f) { f.memory.overcommit = 2; }},
      {"memory.huge_pages", kNote, [](Facts& f) { f.memory.huge_pages = "never"; }},
      {"memory.huge_pages", kNote, [](Facts& f) { f.memory.huge_pages = "always"; }},
      {"shm.small", kNote, [](Facts& f) { f.memory.dev_shm_free_bytes = 63 << 20; }},
      {"kernel.forbidden", kError,
       [](Facts& f) {
         f.system.probes[0] = {kSharedMemoryProbe, false, "memfd_create: no"};
       }},
      {"kernel.orphans", kWarning,
       [](Facts& f) {
         f.system.probes[0] = {kOrphansProbe, false, "prctl: no"};
       }},
      {"kernel.pidfd", kNote, [](Facts& f) { f.system.probes[1].works = false; }},
      {"kernel.peer_memory", kNote,
       [](Facts& f) {
         f.system.probes[0] = {kPeerMemoryProbe, false, "no"};
       }},
      {"limits.open_files", kWarning,
       [](Facts& f) {
         f.limits.open_files = {1024, 65536};
       }},
      {"limits.open_files", kError,
       [](Facts& f) {
         f.limits.open_files = {64, 64};
       }},
      {"limits.processes", kError, [](Facts& f) { f.limits.processes.soft = 30; }},
      {"limits.processes", kError,
       [](Facts& f) {
         f.system.root = true;  // whom the other limit does not bind
         f.limits.cgroup_processes = 100;
         f.limits.cgroup_processes_used = 90;
       }},
      {"limits.address_space", kWarning,
       [](Facts& f) { f.limits.address_space_bytes.soft = 4 * kGiB; }},
      {"limits.file_size", kError, [](Facts& f) { f.limits.file_bytes.soft = 1 << 30; }},
      {"system.temporary", kWarning, [](Facts& f) { f.system.temporary_error = "none"; }},
      {"limits.locked_memory", kWarning,
       [](Facts& f) {
         f.network.infiniband = {{"mlx5_0/1", "4: ACTIVE", "200 Gb/sec", "InfiniBand"}};
         f.limits.locked_memory_bytes.soft = 64 << 10;
       }},
      {"mpi.version", kError, [](Facts& f) { f.mpi.runs[0].version = "4.1.4"; }},
      {"mpi.version", kError,
       [](Facts& f) {
         f.mpi.runs[0] = {"/m", "MPICH", "5.0.11", ""};
       }},
      {"mpi.unknown", kWarning,
       [](Facts& f) {
         f.mpi.runs[0] = {"/m", "", "", "broken"};
       }},
      {"mpi.several", kNote,
       [](Facts& f) {
         f.mpi.runs.push_back({"/usr/bin/mpirun", "Open MPI", "4.1.4", ""});
       }},
      {"mpi.library", kError, [](Facts& f) { f.build.mpi_loaded = "Open MPI 4.1.4"; }},
      {"mpi.library_path", kWarning,
       [](Facts& f) {
         f.build.libraries["libmpi"] = "/opt/ompi/lib/libmpi.so.40";
         f.mpi.libraries = {"/opt/other/lib/libmpi.so.40"};
       }},
      {"mpi.root", kWarning, [](Facts& f) { f.system.root = true; }},
      {"mpi.ulfm", kNote, [](Facts& f) { f.build.mpi_survives_failures = false; }},
      {"mpi.absent", kNote, [](Facts& f) { f.mpi.runs.clear(); }},
      {"mpi.absent", kError,
       [](Facts& f) {
         f.mpi.runs.clear();
         f.wanted.mpirun = true;
       }},
      {"mpi.not_built", kNote, [](Facts& f) { f.build.mpi_built = ""; }},
      {"build.absent", kWarning, [](Facts& f) { f.build = {}; }},
      {"build.broken", kError, [](Facts& f) { f.build.error = "libtorch_cpu.so: not found"; }},
      {"build.hdf5", kError, [](Facts& f) { f.build.hdf5_loaded = "1.12.0"; }},
      {"gpu.driver", kError,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.nvml_error = "mismatch";
       }},
      {"gpu.hidden", kNote,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.devices_of_driver = 8;
       }},
      {"gpu.memory_errors", kError,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.devices[1].uncorrected_errors = 1;
       }},
      {"gpu.slowed", kWarning,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.devices[1].slowed_by_heat = true;
       }},
      {"gpu.narrow", kWarning,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.devices[0].pcie_width = 8;
       }},
      {"gpu.used", kNote,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.devices[0].memory_used_bytes = 100 * kGiB;
       }},
      {"gpu.old_driver", kError,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.cuda_of_driver = 12080;
       }},
      {"gpu.libtorch", kNote,
       [](Facts& f) {
         add_gpus(f);
         f.build.libtorch_has_cuda = false;
       }},
      {"gpu.nccl", kWarning,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.nccl = 0;
       }},
      {"gpu.peers", kNote,
       [](Facts& f) {
         add_gpus(f);
         f.gpu.pairs[0] = {0, 1, "between sockets", false};
       }},
      {"network.loopback", kWarning, [](Facts& f) { f.network.interfaces[1].up = false; }},
      {"network.loopback", kWarning, [](Facts& f) { f.network.loopback_error = "refused"; }},
      {"network.slow", kWarning,
       [](Facts& f) {
         f.wanted.mpirun = true;
         f.network.interfaces[0].megabits_per_second = 1000;
       }},
      {"network.mtu", kNote, [](Facts& f) { f.network.interfaces[0].mtu = 1500; }},
      {"network.none", kError,
       [](Facts& f) {
         f.wanted.mpirun = true;
         f.network.interfaces[0].up = false;
       }},
      {"network.infiniband", kWarning,
       [](Facts& f) {
         f.network.infiniband = {{"mlx5_0/1", "1: DOWN", "", "InfiniBand"}};
       }},
      {"storage.unusable", kError,
       [](Facts& f) {
         f.storage = StorageFacts{"/d", "none", {}};
       }},
      {"storage.space", kWarning,
       [](Facts& f) {
         add_disk(f);
         f.storage->free_bytes = kGiB / 2;
       }},
      {"storage.files", kWarning,
       [](Facts& f) {
         add_disk(f);
         f.storage->free_files = 10;
       }},
      {"storage.memory", kWarning,
       [](Facts& f) {
         add_disk(f);
         f.storage->in_memory = true;
       }},
      {"storage.network", kNote,
       [](Facts& f) {
         add_disk(f);
         f.storage->over_network = true;
       }},
      {"storage.container", kNote,
       [](Facts& f) {
         add_disk(f);
         f.storage->filesystem = "overlay";
       }},
      {"storage.direct_io", kNote,
       [](Facts& f) {
         add_disk(f);
         f.storage->direct_io = false;
       }},
      {"storage.slow", kWarning,
       [](Facts& f) {
         add_disk(f);
         f.storage->write_bytes_per_second = 10e6;
       }},
      {"environment.threads", kNote, variable("OMP_NUM_THREADS", "3")},
      {"environment.threads", kNote, variable("MKL_NUM_THREADS", "8")},
      {"environment.thread_limit", kError,
       [](Facts& f) {
         f.wanted.threads = 2;
         f.environment["OMP_THREAD_LIMIT"] = "1";
       }},
      {"environment.binding", kWarning, variable("OMP_PROC_BIND", "true")},
      {"environment.binding", kWarning, variable("KMP_AFFINITY", "compact")},
      {"environment.slows", kWarning, variable("OMP_WAIT_POLICY", "active")},
      {"environment.slows", kWarning, variable("CUDA_LAUNCH_BLOCKING", "1")},
      {"environment.slows", kWarning, variable("LD_PRELOAD", "/lib/libfoo.so")},
      {"environment.numerics", kNote, variable("MKL_CBWR", "AVX2")},
      {"environment.muster", kWarning, variable("MUSTER_RANK", "0")},
      {"slurm.no_pmix", kError, variable("SLURM_STEP_NUM_TASKS", "4")},
      {"slurm.batch", kNote, variable("SLURM_NTASKS", "4")},
      {"leftovers.open_mpi", kNote,
       [](Facts& f) {
         f.leftovers = {{"/dev/shm/sm_segment.a", 1}};
       }},
      {"leftovers.open_mpi", kWarning,
       [](Facts& f) {
         f.leftovers = {{"/dev/shm/sm_segment.a", 2 * kGiB}};
       }},
      {"measured.failed", kError, [](Facts& f) { f.in_node->error = "exit code 70"; }},
      {"measured.shared_cores", kWarning, [](Facts& f) { f.in_node->ranks[2].cpu_share = 0.5; }},
      {"measured.throttled", kWarning, [](Facts& f) { f.in_node->throttled_periods = 3; }},
      {"measured.stolen", kWarning, [](Facts& f) { f.in_node->stolen_share = 0.2; }},
      {"measured.slow_rank", kWarning,
       [](Facts& f) { f.in_node->ranks[2].copy_bytes_per_second = 5e9; }},
      {"measured.all_reduce", kWarning,
       [](Facts& f) { f.in_node->all_reduce.back().best_seconds = 30e-3; }},
      {"measured.latency", kNote, [](Facts& f) { f.in_node->all_reduce.front().seconds = 200e-6; }},
      {"measured.link", kWarning,
       [](Facts& f) {
         use_two_hosts(f);
         f.over_mpi->all_reduce.back().best_seconds = 0.2;
       }},
      {"measured.one_host", kNote, [](Facts& f) { f.over_mpi = f.in_node; }},
      {"measured.slow_host", kWarning,
       [](Facts& f) {
         use_two_hosts(f);
         f.over_mpi->broadcasts[1].bytes_per_second = 0.1e9;
       }},
  };
}

TEST(DoctorFindings, EachIllnessIsNamedWithItsReasonAndItsCure) {
  for (const Case& one : cases()) {
    Facts facts = healthy();
    one.harm(facts);
    const auto all = findings(facts);
    const Finding* finding = find(all, one.id);
    ASSERT_NE(finding, nullptr) << one.id;
    EXPECT_EQ(finding->severity, one.severity) << one.id << ": " << finding->found;
    for (const Finding& other : all) {
      EXPECT_NE(other.found, "") << one.id;
      if (other.severity == Severity::kOk) continue;
      EXPECT_NE(other.why, "") << other.id;
      if (other.severity == Severity::kNote) continue;
      EXPECT_NE(other.action, "") << other.id;
    }
    EXPECT_GE(exit_code_of(all), one.severity == Severity::kError     ? 2
                                 : one.severity == Severity::kWarning ? 1
                                                                      : 0);
  }
}

TEST(DoctorFindings, EachIdIsInTheDocumentation) {
  const std::string page = testing::read_file(MUSTER_SOURCE_DIR "/docs/doctor.md");
  Facts facts = healthy();
  add_gpus(facts);
  add_disk(facts);
  for (const Finding& one : findings(facts)) EXPECT_THAT(page, HasSubstr("`" + one.id + "`"));
  for (const Case& one : cases()) EXPECT_THAT(page, HasSubstr("`" + std::string(one.id) + "`"));
}

TEST(DoctorFindings, TheWorstComesFirst) {
  Facts facts = healthy();
  for (const Case& one : cases()) one.harm(facts);
  const auto all = findings(facts);
  EXPECT_GT(all.size(), 30u);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_GE(all[i - 1].severity, all[i].severity);
  EXPECT_EQ(exit_code_of(all), 2);
}

TEST(DoctorFindings, OversubscriptionIsExact) {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (int threads = 1; threads <= 4; ++threads) {
      for (int cores = 1; cores <= 8; ++cores) {
        for (double quota : {0.0, 0.5, 1.0, 2.5, 4.0, 16.0}) {
          Facts facts = healthy();
          facts.wanted = {ranks, threads, false};
          facts.cpu.allowed.resize(static_cast<std::size_t>(cores));
          if (quota > 0) facts.cpu.quota_cores = quota;
          const double usable = quota > 0 ? std::min<double>(cores, quota) : cores;
          const bool told = find(findings(facts), "cpu.oversubscribed") != nullptr;
          EXPECT_EQ(told, ranks * threads > usable)
              << ranks << " x " << threads << " on " << cores << ", quota " << quota;
        }
      }
    }
  }
}

TEST(DoctorFindings, WordsNameTheNumbers) {
  Facts facts = healthy();
  facts.wanted.ranks = 64;
  facts.cpu.allowed = {0, 1};
  const auto all = findings(facts);
  const Finding* finding = find(all, "cpu.oversubscribed");
  ASSERT_NE(finding, nullptr);
  EXPECT_THAT(finding->found, HasSubstr("64 ranks of 1 thread on 2 cores usable"));
  EXPECT_THAT(finding->found, HasSubstr("the affinity mask allows 2 of 8"));
  EXPECT_THAT(finding->action, HasSubstr("start 2 ranks"));
}

TEST(DoctorFindings, MeasuresFitIntoMemory) {
  for (int ranks : {1, 2, 3, 8, 64, 256}) {
    for (std::int64_t memory = 1 << 20; memory < 1024 * kGiB; memory *= 4) {
      const std::int64_t bytes = bytes_to_measure(ranks, memory);
      EXPECT_EQ(bytes % 4096, 0);
      EXPECT_GE(bytes, 1 << 20);
      EXPECT_LE(bytes, 64 << 20);
      EXPECT_TRUE(bytes == 1 << 20 || 4 * bytes * ranks <= memory / 4) << ranks << " " << memory;
    }
  }
  EXPECT_EQ(default_ranks(0.5), 1);
  EXPECT_EQ(default_ranks(2.9), 2);
  EXPECT_EQ(default_ranks(128), 8);
}

}  // namespace
}  // namespace muster::launcher::doctor
