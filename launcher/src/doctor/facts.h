// What `muster doctor` knows of a machine: plain values, gathered once and judged by findings().
#ifndef MUSTER_LAUNCHER_DOCTOR_FACTS_H_
#define MUSTER_LAUNCHER_DOCTOR_FACTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "doctor/measurement.h"

namespace muster::launcher::doctor {

/// A limit that may be absent.
using Limit = std::optional<std::int64_t>;

struct NumaNode {
  int id = 0;
  std::vector<int> cpus;
  std::int64_t memory_bytes = 0;
};

struct CpuFacts {
  std::string model;
  std::vector<std::string> vector_units;  ///< Of "avx2", "avx512f", "neon".
  int online = 0;                         ///< Logical processors.
  int physical_cores = 0;
  int sockets = 0;
  std::vector<int> allowed;           ///< The affinity mask.
  int allowed_physical_cores = 0;     ///< Different cores behind `allowed`.
  std::optional<double> quota_cores;  ///< The smallest cgroup quota above this process.
  double load = 0;                    ///< Average over a minute.
  std::string governor;               ///< Of the first processor; empty where none is told.
  std::vector<NumaNode> numa_nodes;
  bool numa_balancing = false;

  /// Cores that this process may keep busy at once: mask and quota.
  double usable_cores() const;
};

struct MemoryFacts {
  std::int64_t total_bytes = 0;
  std::int64_t available_bytes = 0;
  std::int64_t swap_bytes = 0;
  std::int64_t swap_used_bytes = 0;
  Limit cgroup_limit_bytes;  ///< The smallest above this process.
  std::int64_t cgroup_used_bytes = 0;
  int overcommit = 0;             ///< vm.overcommit_memory
  std::string huge_pages;         ///< "always", "madvise", "never"; empty: not told.
  std::string shared_huge_pages;  ///< The same of shared memory.
  std::int64_t reserved_huge_pages = 0;
  Limit dev_shm_bytes;
  std::int64_t dev_shm_free_bytes = 0;

  /// What may still be taken before the kernel kills.
  std::int64_t usable_bytes() const;
};

/// One of the kernel's facilities that Muster is built on, tried out.
struct Probe {
  std::string name;
  bool works = true;
  std::string error;  ///< Why it does not.
};

struct SystemFacts {
  std::string hostname;
  std::string kernel;
  std::string libc;
  std::string distribution;
  std::string container;  ///< Empty: none that tells so.
  bool root = false;
  bool seccomp = false;
  int ptrace_scope = 0;
  std::string temporary_directory;
  std::string temporary_error;  ///< Why nothing can be made there.
  std::vector<Probe> probes;
};

/// Soft and hard; nothing is "unlimited".
struct LimitPair {
  Limit soft;
  Limit hard;
};

struct LimitFacts {
  LimitPair open_files;
  LimitPair processes;
  LimitPair core_bytes;
  LimitPair address_space_bytes;
  LimitPair locked_memory_bytes;
  LimitPair file_bytes;
  Limit cgroup_processes;  ///< The smallest pids.max above this process.
  std::int64_t cgroup_processes_used = 0;
};

/// An mpirun in PATH.
struct MpiRun {
  std::string path;
  std::string family;   ///< "Open MPI", "MPICH", "Intel MPI"; empty: not understood.
  std::string version;  ///< "5.0.11"; empty: not understood.
  std::string error;    ///< Why `mpirun --version` said nothing.
};

struct MpiFacts {
  std::vector<MpiRun> runs;            ///< In PATH's order, each installation once.
  std::vector<std::string> libraries;  ///< libmpi.so* in the folders of LD_LIBRARY_PATH.
};

/// What the programs of this build load, told by the program that measures.
struct BuildFacts {
  std::string program;  ///< Its path; empty: it is not there.
  std::string error;    ///< Why it could not be started.
  std::string libtorch;
  std::string cpu_capability;
  bool libtorch_has_cuda = false;
  std::vector<std::string> transports;  ///< "shared memory", "MPI", "NCCL"
  std::string mpi_built;                ///< "Open MPI 5.0.11"; empty: built without.
  std::string mpi_loaded;
  bool mpi_survives_failures = false;  ///< ULFM.
  std::string hdf5_built;
  std::string hdf5_loaded;
  std::map<std::string, std::string> libraries;  ///< "libmpi" -> the file that was loaded.
};

struct GpuDevice {
  std::string name;
  std::string pci_address;
  std::int64_t memory_bytes = 0;
  std::int64_t memory_used_bytes = 0;
  int numa_node = -1;
  std::int64_t uncorrected_errors = 0;  ///< ECC, since the driver was loaded.
  bool slowed_by_heat = false;
  int active_nvlinks = 0;
  int pcie_width = 0;
  int max_pcie_width = 0;
};

struct GpuPair {
  int a = 0;
  int b = 0;
  std::string path;  ///< "NVLink", "PCIe switch", "CPU socket", "between sockets".
  bool peer_access = false;
};

struct GpuFacts {
  std::string driver;         ///< Of the kernel; empty: none.
  int devices_of_driver = 0;  ///< In /proc; a container may be given fewer.
  std::string nvml_error;     ///< Why the driver's library says nothing; empty with `driver`: fine.
  int cuda_of_driver = 0;     ///< 13000 is CUDA 13.0.
  int cuda_runtime = 0;       ///< 0: none found.
  int nccl = 0;               ///< 22809 is 2.28.9; 0: none found.
  std::vector<GpuDevice> devices;
  std::vector<GpuPair> pairs;
};

struct NetworkInterface {
  std::string name;
  bool up = false;
  bool loopback = false;
  bool hardware = false;                 ///< Not a bridge, a tunnel or a container's end.
  std::int64_t megabits_per_second = 0;  ///< 0: not told.
  int mtu = 0;
};

struct InfinibandPort {
  std::string name;  ///< "mlx5_0/1"
  std::string state;
  std::string rate;
  std::string link_layer;
};

struct NetworkFacts {
  std::vector<NetworkInterface> interfaces;
  std::vector<InfinibandPort> infiniband;
  std::optional<double> loopback_us;  ///< A round trip over 127.0.0.1, median.
  std::string loopback_error;
};

struct StorageFacts {
  std::string path;
  std::string error;  ///< Why it cannot be used; the rest is empty then.
  std::string filesystem;
  std::int64_t total_bytes = 0;
  std::int64_t free_bytes = 0;
  std::int64_t free_files = 0;
  bool in_memory = false;
  bool over_network = false;
  bool direct_io = false;
  double write_bytes_per_second = 0;  ///< To the disk, with fsync; 0: not measured.
};

/// What a dead process left.
struct Leftover {
  std::string path;
  std::int64_t bytes = 0;
};

/// What was asked for.
struct Wanted {
  int ranks = 1;
  int threads = 1;  ///< Of each rank.
  bool mpirun = false;
};

struct Facts {
  Wanted wanted;
  CpuFacts cpu;
  MemoryFacts memory;
  SystemFacts system;
  LimitFacts limits;
  MpiFacts mpi;
  BuildFacts build;
  GpuFacts gpu;
  NetworkFacts network;
  std::optional<StorageFacts> storage;
  std::map<std::string, std::string> environment;  ///< Those variables that concern a job.
  std::vector<Leftover> leftovers;
  std::optional<Measurement> in_node;
  std::optional<Measurement> over_mpi;
};

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_FACTS_H_
