// The report that people read: a line a topic, the same order each time, nothing that is not there.
#include <algorithm>
#include <sstream>

#include "doctor/quantities.h"
#include "doctor/report.h"
#include "doctor/system_view.h"
#include "muster/base/version.h"

namespace muster::launcher::doctor {
namespace {

constexpr std::size_t kTitleColumns = 13;
constexpr std::size_t kWidth = 100;

/// `text` in lines of kWidth, the first behind `first`, the others behind as many spaces.
std::string wrapped(const std::string& first, const std::string& text) {
  std::string result;
  std::string line = first;
  bool fresh = true;
  for (const std::string& word : split_words(text)) {
    if (!fresh && line.size() + 1 + word.size() > kWidth) {
      result += line + "\n";
      line = std::string(first.size(), ' ');
      fresh = true;
    }
    line += (fresh ? "" : " ") + word;
    fresh = false;
  }
  return result + line + "\n";
}

class Report {
 public:
  /// A topic's line. Topics about which nothing is known are left out.
  void line(const std::string& title, const std::string& text) {
    if (text.empty()) return;
    std::string begin = title;
    begin.resize(std::max(kTitleColumns, title.size() + 1), ' ');
    text_ += wrapped(begin, text);
  }
  void raw(const std::string& text) { text_ += text; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// Parts that are known, separated.
std::string joined(const std::vector<std::string>& parts, const std::string& separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!part.empty()) text += (text.empty() ? "" : separator) + part;
  }
  return text;
}

std::string listed(const std::vector<std::string>& parts) { return joined(parts, ", "); }

/// "open files 1024 (hard 4096)"
std::string limit_text(const std::string& name, const LimitPair& pair, bool bytes) {
  const auto text = [&](const Limit& limit) {
    if (!limit) return std::string("unlimited");
    return bytes ? bytes_text(*limit) : std::to_string(*limit);
  };
  return name + " " + text(pair.soft) +
         (pair.soft == pair.hard ? "" : " (hard " + text(pair.hard) + ")");
}

void add_machine(const Facts& facts, Report& report) {
  const CpuFacts& cpu = facts.cpu;
  report.line("cores", listed({cores_text(cpu.usable_cores()) + " of " +
                                   std::to_string(cpu.online) + " usable",
                               count_text(cpu.physical_cores, "physical core") + " in " +
                                   count_text(cpu.sockets, "socket"),
                               cpu.quota_cores ? "quota " + cores_text(*cpu.quota_cores) : "",
                               cpu.model, joined(cpu.vector_units, " ")}));
  for (const NumaNode& node : cpu.numa_nodes) {
    if (cpu.numa_nodes.size() < 2) break;
    report.line("NUMA node " + std::to_string(node.id),
                count_text(static_cast<std::int64_t>(node.cpus.size()), "processor") + ", " +
                    bytes_text(node.memory_bytes));
  }
  const MemoryFacts& memory = facts.memory;
  report.line("memory",
              listed({bytes_text(memory.total_bytes), bytes_text(memory.usable_bytes()) + " usable",
                      memory.cgroup_limit_bytes
                          ? "control group's limit " + bytes_text(*memory.cgroup_limit_bytes)
                          : "",
                      memory.swap_bytes > 0 ? bytes_text(memory.swap_bytes) + " swap" : "no swap",
                      memory.huge_pages.empty() ? "" : "huge pages: " + memory.huge_pages}));
  std::string broken;
  for (const Probe& probe : facts.system.probes) broken += probe.works ? "" : " no " + probe.name;
  report.line("sharing",
              listed({facts.system.probes.empty() ? ""
                      : broken.empty()            ? "memory, descriptors and deaths of peers: tried"
                                                  : broken.substr(1),
                      memory.dev_shm_bytes
                          ? "/dev/shm " + bytes_text(*memory.dev_shm_bytes) + " (Muster needs none)"
                          : ""}));
  report.line("limits",
              listed({limit_text("open files", facts.limits.open_files, false),
                      limit_text("processes", facts.limits.processes, false),
                      limit_text("locked memory", facts.limits.locked_memory_bytes, true),
                      limit_text("core files", facts.limits.core_bytes, true),
                      limit_text("address space", facts.limits.address_space_bytes, true)}));
}

void add_software(const Facts& facts, Report& report) {
  const SystemFacts& system = facts.system;
  report.line("system", listed({system.distribution, "Linux " + system.kernel, system.libc,
                                system.container.empty() ? "" : "in " + system.container}));
  const BuildFacts& build = facts.build;
  if (!build.libtorch.empty()) {
    report.line(
        "this build",
        listed(
            {"LibTorch " + build.libtorch + " (" + build.cpu_capability + ")",
             build.mpi_built.empty()
                 ? "no MPI"
                 : build.mpi_built + (build.mpi_survives_failures ? " with ULFM" : " without ULFM"),
             "HDF5 " + build.hdf5_loaded, "transports: " + joined(build.transports, " and ")}));
  }
  for (const MpiRun& run : facts.mpi.runs) {
    report.line("mpirun",
                run.path + (run.version.empty() ? ": " + run.error
                                                : " (" + run.family + " " + run.version + ")"));
  }
}

void add_gpus(const GpuFacts& gpu, Report& report) {
  if (gpu.driver.empty()) {
    report.line("GPU", "no NVIDIA driver");
    return;
  }
  report.line(
      "GPU driver",
      listed({gpu.driver,
              gpu.cuda_of_driver > 0 ? "good for CUDA " + version_text(gpu.cuda_of_driver, 1000, 10)
                                     : "",
              gpu.cuda_runtime > 0 ? "runtime " + version_text(gpu.cuda_runtime, 1000, 10)
                                   : "no CUDA runtime found",
              gpu.nccl > 0 ? "NCCL " + version_text(gpu.nccl, 10000, 100) + "." +
                                 std::to_string(gpu.nccl % 100)
                           : "no NCCL found",
              gpu.nvml_error}));
  for (std::size_t i = 0; i < gpu.devices.size(); ++i) {
    const GpuDevice& one = gpu.devices[i];
    report.line("GPU " + std::to_string(i),
                listed({one.name, bytes_text(one.memory_bytes),
                        one.active_nvlinks > 0 ? count_text(one.active_nvlinks, "NVLink") : "",
                        one.pcie_width > 0 ? "PCIe x" + std::to_string(one.pcie_width) : "",
                        one.numa_node >= 0 ? "NUMA node " + std::to_string(one.numa_node) : ""}));
  }
  for (const GpuPair& pair : gpu.pairs) {
    report.line("GPUs " + std::to_string(pair.a) + "-" + std::to_string(pair.b),
                pair.path + (pair.peer_access ? "" : ", no access to each other's memory"));
  }
}

// As make_cuda_communicator() chooses, with what can be known without trying.
void add_cuda_transport(const GpuFacts& gpu, Report& report) {
  if (gpu.devices.empty()) return;
  const bool all_reach = std::all_of(gpu.pairs.begin(), gpu.pairs.end(),
                                     [](const GpuPair& pair) { return pair.peer_access; });
  const std::string own = gpu.nccl > 0 ? "nccl with one rank a GPU" : "nccl once it is installed";
  report.line("CUDA tensors", "travel by " + own + ", " +
                                  (all_reach ? "cuda_ipc" : "cuda_ipc or host") + " with several");
}

void add_surroundings(const Facts& facts, Report& report) {
  std::vector<std::string> interfaces;
  for (const NetworkInterface& one : facts.network.interfaces) {
    if (!one.up || one.loopback) continue;
    interfaces.push_back(
        one.name + " (" +
        (one.megabits_per_second > 0 ? std::to_string(one.megabits_per_second) + " Mbit/s, " : "") +
        "MTU " + std::to_string(one.mtu) + ")");
  }
  for (const InfinibandPort& port : facts.network.infiniband) {
    interfaces.push_back(port.name + " (" + port.rate + ", " + port.state + ")");
  }
  if (facts.network.loopback_us) {
    interfaces.push_back("loopback " + time_text(*facts.network.loopback_us * 1e-6) +
                         " there and back");
  }
  report.line("network", listed(interfaces));
  if (facts.storage && facts.storage->error.empty()) {
    const StorageFacts& one = *facts.storage;
    report.line(
        "checkpoints",
        listed({one.path + " (" + one.filesystem + ")",
                bytes_text(one.free_bytes) + " free of " + bytes_text(one.total_bytes),
                one.write_bytes_per_second > 0 ? "writes " + speed_text(one.write_bytes_per_second)
                                               : "",
                one.direct_io ? "O_DIRECT" : ""}));
  }
  std::vector<std::string> variables;
  for (const auto& [name, value] : facts.environment) variables.push_back(name + "=" + value);
  report.line("environment", listed(variables));
}

void add_measurement(const std::string& title, const Measurement& m, Report& report) {
  if (!m.error.empty() || m.ranks.empty()) return;
  report.line(title,
              listed({count_text(static_cast<std::int64_t>(m.ranks.size()), "rank") + " on " +
                          count_text(m.hosts(), "node") + " over " + m.transport,
                      "copying memory " + speed_text(m.copy_alone_bytes_per_second) + " one alone",
                      speed_text(m.copy_together_bytes_per_second()) + " each when all do"}));
  for (const AllReduceTime& one : m.all_reduce) {
    report.line("", "all-reduce " + bytes_text(one.bytes) + ": " + time_text(one.seconds) + ", " +
                        speed_text(static_cast<double>(one.bytes) / one.seconds));
  }
  for (const HostSpeed& one : m.broadcasts) {
    report.line("", "from " + one.host + ": " + speed_text(one.bytes_per_second));
  }
}

void add_findings(std::span<const Finding> all, Report& report) {
  std::int64_t counts[4] = {};
  for (const Finding& one : all) {
    ++counts[static_cast<int>(one.severity)];
    std::string begin = severity_name(one.severity);
    begin.resize(kTitleColumns, ' ');
    const std::string indent(kTitleColumns, ' ');
    report.raw(wrapped(begin, one.found + " [" + one.id + "]"));
    if (!one.why.empty()) report.raw(wrapped(indent + "why: ", one.why));
    if (!one.action.empty()) report.raw(wrapped(indent + "do:  ", one.action));
  }
  report.raw("\n" + count_text(counts[3], "error") + ", " + count_text(counts[2], "warning") +
             ", " + count_text(counts[1], "note") + ", " + std::to_string(counts[0]) + " ok\n");
}

}  // namespace

std::string report_text(const Facts& facts, std::span<const Finding> all) {
  Report report;
  report.raw("Muster " + std::string(kVersion) + " on " + facts.system.hostname + ", for " +
             count_text(facts.wanted.ranks, "rank") + " of " +
             count_text(facts.wanted.threads, "thread") + "\n\n");
  add_machine(facts, report);
  add_software(facts, report);
  add_gpus(facts.gpu, report);
  add_cuda_transport(facts.gpu, report);
  add_surroundings(facts, report);
  if (facts.in_node) add_measurement("in the node", *facts.in_node, report);
  if (facts.over_mpi) add_measurement("by mpirun", *facts.over_mpi, report);
  report.raw("\n");
  add_findings(all, report);
  return report.take();
}

}  // namespace muster::launcher::doctor
