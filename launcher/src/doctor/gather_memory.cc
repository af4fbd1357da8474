// Memory, its limits, and the kernel's ways with it.
#include <sys/statvfs.h>

#include <algorithm>

#include "doctor/cgroups.h"
#include "doctor/gather.h"

namespace muster::launcher::doctor {

MemoryFacts gather_memory(const SystemView& view) {
  MemoryFacts facts;
  const auto info = view.table("/proc/meminfo");
  const auto bytes = [&](const char* name) {
    const auto found = info.find(name);
    return found == info.end() ? 0 : leading_number(found->second).value_or(0) * 1024;
  };
  facts.total_bytes = bytes("MemTotal");
  facts.available_bytes = bytes("MemAvailable");
  facts.swap_bytes = bytes("SwapTotal");
  facts.swap_used_bytes = facts.swap_bytes - bytes("SwapFree");
  const auto huge_pages = info.find("HugePages_Total");
  if (huge_pages != info.end()) {
    facts.reserved_huge_pages = leading_number(huge_pages->second).value_or(0);
  }
  if (const auto limit = Cgroups(view).memory()) {
    facts.cgroup_limit_bytes = limit->limit;
    facts.cgroup_used_bytes = limit->used;
  }
  facts.overcommit = static_cast<int>(view.number("/proc/sys/vm/overcommit_memory").value_or(0));
  const std::string pages = "/sys/kernel/mm/transparent_hugepage/";
  facts.huge_pages = chosen_word(view.text(pages + "enabled").value_or(""));
  facts.shared_huge_pages = chosen_word(view.text(pages + "shmem_enabled").value_or(""));
  struct statvfs shm {};
  if (statvfs(view.at("/dev/shm").c_str(), &shm) == 0) {
    const auto block = static_cast<std::int64_t>(shm.f_frsize);
    facts.dev_shm_bytes = static_cast<std::int64_t>(shm.f_blocks) * block;
    facts.dev_shm_free_bytes = static_cast<std::int64_t>(shm.f_bavail) * block;
  }
  return facts;
}

std::int64_t MemoryFacts::usable_bytes() const {
  if (!cgroup_limit_bytes) return available_bytes;
  return std::min(available_bytes,
                  std::max<std::int64_t>(0, *cgroup_limit_bytes - cgroup_used_bytes));
}

}  // namespace muster::launcher::doctor
