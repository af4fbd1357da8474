// Facts read from fabricated machines: trees of the files that kernels write.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "doctor/ask_child.h"
#include "doctor/cgroups.h"
#include "doctor/gather.h"
#include "doctor/probes.h"
#include "launcher/muster_process.h"

namespace muster::launcher::doctor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FabricatedMachine : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const auto file = directory_.path() / path.substr(1);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  /// As if it had been written long ago.
  void make_old(const std::string& path) {
    const timespec times[2] = {{1000000, 0}, {1000000, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, view_.at(path).c_str(), times, 0), 0);
  }

  /// `sockets` x `cores` x 2 hardware threads, numbered as Linux does: first threads first.
  void add_processors(int sockets, int cores) {
    const int count = sockets * cores * 2;
    write("/sys/devices/system/cpu/online", "0-" + std::to_string(count - 1) + "\n");
    for (int cpu = 0; cpu < count; ++cpu) {
      const std::string topology =
          "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
      const int core = cpu % (sockets * cores);
      write(topology + "core_id", std::to_string(core % cores) + "\n");
      write(topology + "physical_package_id", std::to_string(core / cores) + "\n");
    }
  }

  void use_cgroup_v2(const std::string& path, const std::string& mount_root = "/") {
    write("/proc/self/cgroup", "0::" + path + "\n");
    write("/proc/self/mountinfo",
          "22 1 0:21 / /proc rw,nosuid - proc proc rw\n"
          "30 23 0:26 " +
              mount_root + " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }

  testing::TemporaryDirectory directory_;
  SystemView view_{directory_.path()};
};

TEST_F(FabricatedMachine, AnEmptyOneTellsNothingAndBreaksNothing) {
  EXPECT_EQ(gather_cpu(view_).online, 0);
  EXPECT_EQ(gather_memory(view_).total_bytes, 0);
  EXPECT_FALSE(gather_limits(view_).open_files.soft.has_value());
  EXPECT_THAT(gather_network(view_).interfaces, IsEmpty());
  EXPECT_THAT(gather_leftovers(view_, "/tmp"), IsEmpty());
  EXPECT_FALSE(Cgroups(view_).cpu_quota().has_value());
}

TEST_F(FabricatedMachine, ProcessorsCoresSocketsAndMask) {
  add_processors(2, 4);
  write("/proc/cpuinfo",
        "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f\n\n"
        "processor\t: 1\nmodel name\t: Another\n");
  write("/proc/self/status", "Name:\tmuster\nCpus_allowed:\tff\nCpus_allowed_list:\t0-2,8,9\n");
  write("/proc/loadavg", "1.50 2.00 3.00 1/100 1234\n");
  const CpuFacts facts = gather_cpu(view_);
  EXPECT_EQ(facts.online, 16);
  EXPECT_EQ(facts.physical_cores, 8);
  EXPECT_EQ(facts.sockets, 2);
  EXPECT_EQ(facts.model, "Some CPU @ 2 GHz");
  EXPECT_THAT(facts.vector_units, ElementsAre("avx2", "avx512f"));
  EXPECT_THAT(facts.allowed, ElementsAre(0, 1, 2, 8, 9));
  EXPECT_EQ(facts.allowed_physical_cores, 3) << "8 and 9 are the second threads of 0 and 1";
  EXPECT_EQ(facts.usable_cores(), 5);
  EXPECT_EQ(facts.load, 1.5);
}

TEST_F(FabricatedMachine, NumaNodes) {
  write("/sys/devices/system/node/online", "0-1\n");
  write("/sys/devices/system/node/node0/cpulist", "0-1\n");
  write("/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:       1024 kB\n");
  write("/sys/devices/system/node/node1/cpulist", "2-3\n");
  write("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:       2048 kB\n");
  write("/proc/sys/kernel/numa_balancing", "1\n");
  const CpuFacts facts = gather_cpu(view_);
  ASSERT_EQ(facts.numa_nodes.size(), 2u);
  EXPECT_THAT(facts.numa_nodes[1].cpus, ElementsAre(2, 3));
  EXPECT_EQ(facts.numa_nodes[1].memory_bytes, 2048 * 1024);
  EXPECT_TRUE(facts.numa_balancing);
}

TEST_F(FabricatedMachine, TheSmallestQuotaOfVersion2Counts) {
  use_cgroup_v2("/user/job/step");
  const std::string mount = "/sys/fs/cgroup/user";
  write(mount + "/cpu.max", "400000 100000\n");
  write(mount + "/memory.max", "17179869184\n");
  write(mount + "/memory.current", "2147483648\n");
  write(mount + "/job/cpu.max", "250000 100000\n");
  write(mount + "/job/step/cpu.max", "max 100000\n");
  write(mount + "/job/step/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 3\n");
  write(mount + "/job/memory.max", "8589934592\n");
  write(mount + "/job/memory.current", "1073741824\n");
  write(mount + "/job/step/memory.max", "max\n");
  write(mount + "/job/step/pids.max", "100\n");
  write(mount + "/job/step/pids.current", "7\n");
  const Cgroups groups(view_);
  EXPECT_EQ(groups.cpu_quota(), 2.5);
  EXPECT_EQ(groups.throttled_periods(), 3);
  ASSERT_TRUE(groups.memory().has_value());
  EXPECT_EQ(groups.memory()->limit, std::int64_t{8} << 30);
  EXPECT_EQ(groups.memory()->used, std::int64_t{1} << 30);
  EXPECT_EQ(groups.processes()->limit, 100);
  EXPECT_EQ(groups.processes()->used, 7);
}

TEST_F(FabricatedMachine, AContainerThatMountsItsOwnGroupOnly) {
  use_cgroup_v2("/docker/ab/deep", "/docker/ab");
  write("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(Cgroups(view_).cpu_quota(), 1.5);
  use_cgroup_v2("/elsewhere", "/docker/ab");  // another namespace's path
  EXPECT_EQ(Cgroups(view_).cpu_quota(), 1.5);
}

TEST_F(FabricatedMachine, LimitsOfVersion1) {
  write("/proc/self/cgroup", "4:memory:/slurm/job\n3:cpu,cpuacct:/slurm/job\n0::/\n");
  write("/proc/self/mountinfo",
        "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /sys/fs/cgroup/memory rw shared:6 - cgroup cgroup rw,memory\n"
        "33 23 0:29 / /sys/fs/cgroup/unified rw shared:7 - cgroup2 cgroup2 rw\n");
  const std::string cpu = "/sys/fs/cgroup/cpu,cpuacct";
  write(cpu + "/cpu.cfs_quota_us", "-1\n");
  write(cpu + "/cpu.cfs_period_us", "100000\n");
  write(cpu + "/slurm/job/cpu.cfs_quota_us", "400000\n");
  write(cpu + "/slurm/job/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("/sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes", "1073741824\n");
  write("/sys/fs/cgroup/memory/slurm/job/memory.usage_in_bytes", "4096\n");
  write("/proc/meminfo",
        "MemTotal:  16777216 kB\nMemAvailable:  16000000 kB\nSwapTotal: 2048 kB\n"
        "SwapFree: 1024 kB\nHugePages_Total:       4\n");
  EXPECT_EQ(Cgroups(view_).cpu_quota(), 4);
  const MemoryFacts facts = gather_memory(view_);
  EXPECT_EQ(facts.cgroup_limit_bytes, std::int64_t{1} << 30);
  EXPECT_EQ(facts.usable_bytes(), (std::int64_t{1} << 30) - 4096);
  EXPECT_EQ(facts.swap_used_bytes, 1024 * 1024);
  EXPECT_EQ(facts.reserved_huge_pages, 4);
}

TEST_F(FabricatedMachine, LimitsOfTheProcess) {
  write("/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max file size             unlimited            unlimited            bytes     \n"
        "Max core file size        0                    unlimited            bytes     \n"
        "Max processes             4096                 8192                 processes \n"
        "Max open files            1024                 524288               files     \n"
        "Max locked memory         65536                65536                bytes     \n");
  const LimitFacts facts = gather_limits(view_);
  EXPECT_EQ(facts.open_files.soft, 1024);
  EXPECT_EQ(facts.open_files.hard, 524288);
  EXPECT_EQ(facts.processes.soft, 4096);
  EXPECT_EQ(facts.core_bytes.soft, 0);
  EXPECT_FALSE(facts.core_bytes.hard.has_value());
  EXPECT_FALSE(facts.file_bytes.soft.has_value());
  EXPECT_EQ(facts.locked_memory_bytes.soft, 65536);
}

TEST_F(FabricatedMachine, SystemAndKernel) {
  write("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
  write("/proc/sys/kernel/osrelease", "6.1.0-1-amd64\n");
  write("/proc/sys/kernel/hostname", "node-a\n");
  write("/proc/sys/kernel/yama/ptrace_scope", "2\n");
  write("/proc/self/status", "Uid:\t0\t0\t0\t0\nSeccomp:\t2\n");
  write("/run/.containerenv", "");
  write("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const SystemFacts facts = gather_system(view_);
  EXPECT_EQ(facts.distribution, "Debian GNU/Linux 12");
  EXPECT_EQ(facts.kernel, "6.1.0-1-amd64");
  EXPECT_EQ(facts.hostname, "node-a");
  EXPECT_EQ(facts.container, "podman");
  EXPECT_EQ(facts.ptrace_scope, 2);
  EXPECT_TRUE(facts.root);
  EXPECT_TRUE(facts.seccomp);
  EXPECT_EQ(gather_memory(view_).huge_pages, "madvise");
}

TEST_F(FabricatedMachine, InterfacesAndInfiniband) {
  const std::string net = "/sys/class/net/";
  write(net + "eth0/flags", "0x1003\n");
  write(net + "eth0/operstate", "up\n");
  write(net + "eth0/type", "1\n");
  write(net + "eth0/mtu", "9000\n");
  write(net + "eth0/speed", "25000\n");
  write(net + "eth0/device/vendor", "0x15b3\n");
  write(net + "eth1/flags", "0x1003\n");
  write(net + "eth1/operstate", "down\n");
  write(net + "eth1/speed", "-1\n");
  write(net + "lo/flags", "0x9\n");
  write(net + "lo/operstate", "unknown\n");
  write(net + "lo/type", "772\n");
  write("/sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n");
  write("/sys/class/infiniband/mlx5_0/ports/1/rate", "200 Gb/sec (4X HDR)\n");
  const NetworkFacts facts = gather_network(view_);
  ASSERT_EQ(facts.interfaces.size(), 3u);
  EXPECT_TRUE(facts.interfaces[0].up);
  EXPECT_TRUE(facts.interfaces[0].hardware);
  EXPECT_EQ(facts.interfaces[0].megabits_per_second, 25000);
  EXPECT_EQ(facts.interfaces[0].mtu, 9000);
  EXPECT_FALSE(facts.interfaces[1].up) << "no cable";
  EXPECT_EQ(facts.interfaces[1].megabits_per_second, 0);
  EXPECT_TRUE(facts.interfaces[2].loopback);
  EXPECT_TRUE(facts.interfaces[2].up);
  ASSERT_EQ(facts.infiniband.size(), 1u);
  EXPECT_EQ(facts.infiniband[0].name, "mlx5_0/1");
  EXPECT_EQ(facts.infiniband[0].state, "4: ACTIVE");
}

TEST_F(FabricatedMachine, WhatDeadProcessesOfOpenMpiLeft) {
  for (const char* name : {"sm_segment.a.0.1.0", "sm_segment.a.0.2.0", "vader_segment.a.0.3.0",
                           "sm_segment.fresh", "other"}) {
    write(std::string("/dev/shm/") + name, std::string(8192, 'x'));
    if (std::string(name) != "sm_segment.fresh") make_old(std::string("/dev/shm/") + name);
  }
  write("/proc/77/maps", "7f00-7f01 rw-s 00000000 00:19 5   /dev/shm/sm_segment.a.0.2.0\n");
  write("/tmp/ompi.77/file", "");
  write("/tmp/ompi.78/file", "");
  write("/tmp/ompi.host.0/pid.77/file", "");
  write("/tmp/ompi.host.0/pid.79/file", "");
  std::vector<std::string> paths;
  std::int64_t bytes = 0;
  for (const Leftover& one : gather_leftovers(view_, "/tmp")) {
    paths.push_back(one.path);
    bytes += one.bytes;
  }
  EXPECT_THAT(paths, ElementsAre("/dev/shm/sm_segment.a.0.1.0", "/dev/shm/vader_segment.a.0.3.0",
                                 "/tmp/ompi.78", "/tmp/ompi.host.0/pid.79"));
  EXPECT_GE(bytes, 2 * 8192);
}

TEST_F(FabricatedMachine, TheDriverThatProcNames) {
  write("/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 2025\nGCC version:  "
        "gcc version 12.2.0\n");
  write("/proc/driver/nvidia/gpus/0000:0f:00.0/information", "");
  const GpuFacts facts = gather_gpu(view_);
  EXPECT_EQ(facts.driver, "580.65.06");
  EXPECT_EQ(facts.devices_of_driver, 1);
}

TEST(DoctorGather, SecretsAreNotPrinted) {
  const Environment chosen = relevant_environment({{"SLURM_JOB_ID", "7"},
                                                   {"SLURM_JWT", "x"},
                                                   {"NCCL_API_KEY", "x"},
                                                   {"MUSTER_TOKEN", "x"},
                                                   {"OMP_NUM_THREADS", "2"},
                                                   {"HOME", "/root"}});
  EXPECT_EQ(chosen, (Environment{{"SLURM_JOB_ID", "7"}, {"OMP_NUM_THREADS", "2"}}));
}

TEST(DoctorGather, TheKernelOfThisMachineHasAllThatTheLauncherNeeds) {
  for (const Probe& probe : run_probes()) {
    if (probe.name != kPeerMemoryProbe && probe.name != kPidfdProbe) {
      EXPECT_TRUE(probe.works) << probe.name << ": " << probe.error;
    }
  }
}

TEST(DoctorGather, ChildrenThatFailHangOrCrashAreToldApart) {
  using std::chrono::milliseconds;
  EXPECT_EQ(ask_child([] { return std::string(100000, 'a'); }, testing::kDeadline).text,
            std::string(100000, 'a'));
  EXPECT_EQ(
      ask_child([]() -> std::string { throw std::runtime_error("no"); }, testing::kDeadline).error,
      "no");
  EXPECT_THAT(ask_child(
                  []() -> std::string {
                    raise(SIGKILL);
                    return "";
                  },
                  testing::kDeadline)
                  .error,
              HasSubstr("Killed"));
  EXPECT_THAT(ask_child(
                  []() -> std::string {
                    pause();
                    return "";
                  },
                  milliseconds(20))
                  .error,
              HasSubstr("no answer within 20 ms"));
}

TEST(DoctorGather, ADiskIsTriedAndLeftAsItWas) {
  const testing::TemporaryDirectory directory;
  const StorageFacts facts = gather_storage(directory.path(), true);
  EXPECT_EQ(facts.error, "");
  EXPECT_GT(facts.free_bytes, 0);
  EXPECT_GT(facts.write_bytes_per_second, 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_NE(gather_storage("/nowhere/at/all", false).error, "");
  if (std::filesystem::exists("/dev/shm")) {
    EXPECT_TRUE(gather_storage("/dev/shm", false).in_memory);
  }
}

TEST(DoctorGather, TheLoopbackIsMeasured) {
  NetworkFacts facts;
  measure_loopback(facts);
  EXPECT_EQ(facts.loopback_error, "");
  ASSERT_TRUE(facts.loopback_us.has_value());
  EXPECT_GT(*facts.loopback_us, 0);
}

}  // namespace
}  // namespace muster::launcher::doctor
