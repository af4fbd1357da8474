// Facts and findings as JSON. Sizes are in bytes, "null" is unlimited or unknown.
#include "doctor/report.h"

namespace muster::launcher::doctor {
namespace {

template <typename T>
Json maybe(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json cpu_json(const CpuFacts& cpu) {
  Json nodes = Json::array();
  for (const NumaNode& node : cpu.numa_nodes) {
    nodes.push_back({{"id", node.id}, {"cpus", node.cpus}, {"memory_bytes", node.memory_bytes}});
  }
  return {{"model", cpu.model},
          {"vector_units", cpu.vector_units},
          {"online", cpu.online},
          {"physical_cores", cpu.physical_cores},
          {"sockets", cpu.sockets},
          {"allowed", cpu.allowed},
          {"allowed_physical_cores", cpu.allowed_physical_cores},
          {"quota_cores", maybe(cpu.quota_cores)},
          {"usable_cores", cpu.usable_cores()},
          {"load", cpu.load},
          {"governor", cpu.governor},
          {"numa_nodes", nodes},
          {"numa_balancing", cpu.numa_balancing}};
}

Json memory_json(const MemoryFacts& memory) {
  return {{"total_bytes", memory.total_bytes},
          {"available_bytes", memory.available_bytes},
          {"usable_bytes", memory.usable_bytes()},
          {"swap_bytes", memory.swap_bytes},
          {"swap_used_bytes", memory.swap_used_bytes},
          {"cgroup_limit_bytes", maybe(memory.cgroup_limit_bytes)},
          {"cgroup_used_bytes", memory.cgroup_used_bytes},
          {"overcommit", memory.overcommit},
          {"huge_pages", memory.huge_pages},
          {"shared_huge_pages", memory.shared_huge_pages},
          {"reserved_huge_pages", memory.reserved_huge_pages},
          {"dev_shm_bytes", maybe(memory.dev_shm_bytes)},
          {"dev_shm_free_bytes", memory.dev_shm_free_bytes}};
}

Json system_json(const SystemFacts& system) {
  Json probes = Json::array();
  for (const Probe& probe : system.probes) {
    probes.push_back({{"name", probe.name}, {"works", probe.works}, {"error", probe.error}});
  }
  return {{"hostname", system.hostname},
          {"kernel", system.kernel},
          {"libc", system.libc},
          {"distribution", system.distribution},
          {"container", system.container},
          {"root", system.root},
          {"seccomp", system.seccomp},
          {"ptrace_scope", system.ptrace_scope},
          {"temporary_directory", system.temporary_directory},
          {"temporary_error", system.temporary_error},
          {"probes", probes}};
}

Json limits_json(const LimitFacts& limits) {
  const auto pair = [](const LimitPair& one) {
    return Json{{"soft", maybe(one.soft)}, {"hard", maybe(one.hard)}};
  };
  return {{"open_files", pair(limits.open_files)},
          {"processes", pair(limits.processes)},
          {"core_bytes", pair(limits.core_bytes)},
          {"address_space_bytes", pair(limits.address_space_bytes)},
          {"locked_memory_bytes", pair(limits.locked_memory_bytes)},
          {"file_bytes", pair(limits.file_bytes)},
          {"cgroup_processes", maybe(limits.cgroup_processes)},
          {"cgroup_processes_used", limits.cgroup_processes_used}};
}

Json mpi_json(const MpiFacts& mpi) {
  Json runs = Json::array();
  for (const MpiRun& run : mpi.runs) {
    runs.push_back({{"path", run.path},
                    {"family", run.family},
                    {"version", run.version},
                    {"error", run.error}});
  }
  return {{"mpirun", runs}, {"library_path", mpi.libraries}};
}

Json build_json(const BuildFacts& build) {
  return {{"program", build.program},
          {"error", build.error},
          {"libtorch", build.libtorch},
          {"cpu_capability", build.cpu_capability},
          {"libtorch_has_cuda", build.libtorch_has_cuda},
          {"transports", build.transports},
          {"mpi_built", build.mpi_built},
          {"mpi_loaded", build.mpi_loaded},
          {"mpi_survives_failures", build.mpi_survives_failures},
          {"hdf5_built", build.hdf5_built},
          {"hdf5_loaded", build.hdf5_loaded},
          {"libraries", build.libraries}};
}

Json gpu_json(const GpuFacts& gpu) {
  Json devices = Json::array();
  for (const GpuDevice& device : gpu.devices) {
    devices.push_back({{"name", device.name},
                       {"pci_address", device.pci_address},
                       {"memory_bytes", device.memory_bytes},
                       {"memory_used_bytes", device.memory_used_bytes},
                       {"numa_node", device.numa_node},
                       {"uncorrected_errors", device.uncorrected_errors},
                       {"slowed_by_heat", device.slowed_by_heat},
                       {"active_nvlinks", device.active_nvlinks},
                       {"pcie_width", device.pcie_width},
                       {"max_pcie_width", device.max_pcie_width}});
  }
  Json pairs = Json::array();
  for (const GpuPair& pair : gpu.pairs) {
    pairs.push_back(
        {{"a", pair.a}, {"b", pair.b}, {"path", pair.path}, {"peer_access", pair.peer_access}});
  }
  return {{"driver", gpu.driver},
          {"devices_of_driver", gpu.devices_of_driver},
          {"nvml_error", gpu.nvml_error},
          {"cuda_of_driver", gpu.cuda_of_driver},
          {"cuda_runtime", gpu.cuda_runtime},
          {"nccl", gpu.nccl},
          {"devices", devices},
          {"pairs", pairs}};
}

Json network_json(const NetworkFacts& network) {
  Json interfaces = Json::array();
  for (const NetworkInterface& one : network.interfaces) {
    interfaces.push_back({{"name", one.name},
                          {"up", one.up},
                          {"loopback", one.loopback},
                          {"hardware", one.hardware},
                          {"megabits_per_second", one.megabits_per_second},
                          {"mtu", one.mtu}});
  }
  Json ports = Json::array();
  for (const InfinibandPort& port : network.infiniband) {
    ports.push_back({{"name", port.name},
                     {"state", port.state},
                     {"rate", port.rate},
                     {"link_layer", port.link_layer}});
  }
  return {{"interfaces", interfaces},
          {"infiniband", ports},
          {"loopback_us", maybe(network.loopback_us)},
          {"loopback_error", network.loopback_error}};
}

Json storage_json(const std::optional<StorageFacts>& storage) {
  if (!storage) return nullptr;
  return {{"path", storage->path},
          {"error", storage->error},
          {"filesystem", storage->filesystem},
          {"total_bytes", storage->total_bytes},
          {"free_bytes", storage->free_bytes},
          {"free_files", storage->free_files},
          {"in_memory", storage->in_memory},
          {"over_network", storage->over_network},
          {"direct_io", storage->direct_io},
          {"write_bytes_per_second", storage->write_bytes_per_second}};
}

Json leftovers_json(const std::vector<Leftover>& leftovers) {
  Json all = Json::array();
  for (const Leftover& one : leftovers) all.push_back({{"path", one.path}, {"bytes", one.bytes}});
  return all;
}

Json facts_json(const Facts& facts) {
  return {{"ranks", facts.wanted.ranks},
          {"threads", facts.wanted.threads},
          {"cpu", cpu_json(facts.cpu)},
          {"memory", memory_json(facts.memory)},
          {"system", system_json(facts.system)},
          {"limits", limits_json(facts.limits)},
          {"mpi", mpi_json(facts.mpi)},
          {"build", build_json(facts.build)},
          {"gpu", gpu_json(facts.gpu)},
          {"network", network_json(facts.network)},
          {"storage", storage_json(facts.storage)},
          {"environment", facts.environment},
          {"leftovers", leftovers_json(facts.leftovers)},
          {"in_node", facts.in_node ? to_json(*facts.in_node) : Json()},
          {"over_mpi", facts.over_mpi ? to_json(*facts.over_mpi) : Json()}};
}

}  // namespace

Json report_json(const Facts& facts, std::span<const Finding> all) {
  Json list = Json::array();
  for (const Finding& one : all) {
    list.push_back({{"severity", severity_name(one.severity)},
                    {"id", one.id},
                    {"found", one.found},
                    {"why", one.why},
                    {"action", one.action}});
  }
  return {{"facts", facts_json(facts)}, {"findings", list}, {"exit_code", exit_code_of(all)}};
}

}  // namespace muster::launcher::doctor
