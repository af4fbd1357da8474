// Processors, the mask and the quota, NUMA nodes.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "doctor/cgroups.h"
#include "doctor/gather.h"

namespace muster::launcher::doctor {
namespace {

/// (socket, core) of a processor. Where none is told, as in some virtual machines on aarch64, each
/// is a core of its own.
using CoreId = std::pair<std::int64_t, std::int64_t>;

CoreId core_of(const SystemView& view, int cpu) {
  const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
  const auto core = view.number(topology + "core_id");
  const auto socket = view.number(topology + "physical_package_id");
  return {socket.value_or(0), core.value_or(cpu)};
}

std::vector<std::string> vector_units(const std::map<std::string, std::string>& cpuinfo) {
  std::vector<std::string> found;
  for (const char* list : {"flags", "Features"}) {  // x86 and aarch64
    const auto entry = cpuinfo.find(list);
    if (entry == cpuinfo.end()) continue;
    const std::vector<std::string> words = split_words(entry->second);
    for (const char* unit : {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve"}) {
      if (std::find(words.begin(), words.end(), unit) != words.end()) found.emplace_back(unit);
    }
  }
  return found;
}

std::vector<NumaNode> numa_nodes(const SystemView& view) {
  std::vector<NumaNode> nodes;
  const std::string folder = "/sys/devices/system/node/";
  for (const int id : parse_cpu_list(view.text(folder + "online").value_or(""))) {
    const std::string node = folder + "node" + std::to_string(id);
    NumaNode one{id, parse_cpu_list(view.text(node + "/cpulist").value_or("")), 0};
    for (const std::string& line : view.lines(node + "/meminfo")) {
      const auto words = split_words(line);  // Node 0 MemTotal: 1234 kB
      if (words.size() >= 4 && words[2] == "MemTotal:") {
        one.memory_bytes = leading_number(words[3]).value_or(0) * 1024;
      }
    }
    nodes.push_back(std::move(one));
  }
  return nodes;
}

}  // namespace

CpuFacts gather_cpu(const SystemView& view) {
  CpuFacts facts;
  const auto cpuinfo = view.table("/proc/cpuinfo");
  const auto model = cpuinfo.find("model name");
  facts.model = model == cpuinfo.end() ? "" : model->second;
  facts.vector_units = vector_units(cpuinfo);

  std::set<CoreId> cores;
  std::set<std::int64_t> sockets;
  for (const int cpu : parse_cpu_list(view.text("/sys/devices/system/cpu/online").value_or(""))) {
    ++facts.online;
    cores.insert(core_of(view, cpu));
    sockets.insert(core_of(view, cpu).first);
  }
  facts.physical_cores = static_cast<int>(cores.size());
  facts.sockets = static_cast<int>(sockets.size());

  const auto status = view.table("/proc/self/status");
  const auto allowed = status.find("Cpus_allowed_list");
  if (allowed != status.end()) facts.allowed = parse_cpu_list(allowed->second);
  std::set<CoreId> allowed_cores;
  for (const int cpu : facts.allowed) allowed_cores.insert(core_of(view, cpu));
  facts.allowed_physical_cores = static_cast<int>(allowed_cores.size());

  facts.quota_cores = Cgroups(view).cpu_quota();
  facts.load = std::strtod(view.text("/proc/loadavg").value_or("0").c_str(), nullptr);
  facts.governor = view.text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").value_or("");
  facts.numa_nodes = numa_nodes(view);
  facts.numa_balancing = view.number("/proc/sys/kernel/numa_balancing").value_or(0) != 0;
  return facts;
}

double CpuFacts::usable_cores() const {
  const auto mask = static_cast<double>(allowed.size());
  return quota_cores ? std::min(mask, *quota_cores) : mask;
}

}  // namespace muster::launcher::doctor
