// Kernel, distribution, container; limits of this process.
#include <gnu/libc-version.h>
#include <unistd.h>

#include <cerrno>

#include "doctor/cgroups.h"
#include "doctor/gather.h"
#include "muster/base/error.h"

namespace muster::launcher::doctor {
namespace {

std::string unquoted(std::string text) {
  if (text.size() >= 2 && text.front() == '"') text = text.substr(1, text.size() - 2);
  return text;
}

std::string distribution(const SystemView& view) {
  for (const std::string& line : view.lines("/etc/os-release")) {
    if (line.starts_with("PRETTY_NAME=")) return unquoted(line.substr(12));
  }
  return "";
}

std::string container(const SystemView& view) {
  if (const auto told = view.text("/run/systemd/container"); told && !told->empty()) return *told;
  if (view.exists("/.dockerenv")) return "docker";
  if (view.exists("/run/.containerenv")) return "podman";
  if (view.exists("/.singularity.d")) return "apptainer";
  return "";
}

Limit limit_value(const std::string& word) {
  return word == "unlimited" ? Limit() : leading_number(word);
}

}  // namespace

SystemFacts gather_system(const SystemView& view) {
  SystemFacts facts;
  facts.hostname = view.text("/proc/sys/kernel/hostname").value_or("");
  facts.kernel = view.text("/proc/sys/kernel/osrelease").value_or("");
  facts.libc = std::string("glibc ") + gnu_get_libc_version();
  facts.distribution = distribution(view);
  facts.container = container(view);
  const auto status = view.table("/proc/self/status");
  const auto first = [&](const char* name) {
    const auto found = status.find(name);
    return found == status.end() ? std::optional<std::int64_t>() : leading_number(found->second);
  };
  facts.root = first("Uid").value_or(1) == 0;
  facts.seccomp = first("Seccomp").value_or(0) != 0;
  facts.ptrace_scope =
      static_cast<int>(view.number("/proc/sys/kernel/yama/ptrace_scope").value_or(0));
  return facts;
}

void gather_temporary_directory(const Environment& environment, SystemFacts& facts) {
  const auto named = environment.find("TMPDIR");
  const bool is_named = named != environment.end() && !named->second.empty();
  facts.temporary_directory = is_named ? named->second : "/tmp";
  if (access(facts.temporary_directory.c_str(), W_OK | X_OK) != 0) {
    facts.temporary_error = errno_text(errno);
  }
}

// "Max open files            1024                 1048576              files"
LimitFacts gather_limits(const SystemView& view) {
  LimitFacts facts;
  const std::map<std::string, LimitPair*> wanted = {
      {"Max open files", &facts.open_files},
      {"Max processes", &facts.processes},
      {"Max core file size", &facts.core_bytes},
      {"Max address space", &facts.address_space_bytes},
      {"Max locked memory", &facts.locked_memory_bytes},
      {"Max file size", &facts.file_bytes},
  };
  constexpr std::size_t kNameColumns = 26;
  for (const std::string& line : view.lines("/proc/self/limits")) {
    const std::string name = line.substr(0, line.find("  "));
    const auto found = wanted.find(name);
    if (found == wanted.end() || line.size() < kNameColumns) continue;
    const auto values = split_words(line.substr(kNameColumns));
    if (values.size() >= 2) *found->second = {limit_value(values[0]), limit_value(values[1])};
  }
  if (const auto limit = Cgroups(view).processes()) {
    facts.cgroup_processes = limit->limit;
    facts.cgroup_processes_used = limit->used;
  }
  return facts;
}

}  // namespace muster::launcher::doctor
