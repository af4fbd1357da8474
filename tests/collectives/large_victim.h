// A process that holds so much memory that the kernel takes its time to end it.
#ifndef MUSTER_TESTS_COLLECTIVES_LARGE_VICTIM_H_
#define MUSTER_TESTS_COLLECTIVES_LARGE_VICTIM_H_

#include <sys/mman.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace muster::testing {

inline constexpr std::uint64_t kVictimBytes = std::uint64_t{4} << 30;

/// Free, or in the page cache and to be given up for the asking.
inline std::uint64_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  for (std::uint64_t kib = 0; file >> name >> kib; std::getline(file, unit)) {
    if (name == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

/// Why there can be no large victim on this machine; empty: there can.
inline std::string missing_memory() {
  const std::uint64_t available = available_bytes();
  if (available >= 2 * kVictimBytes) return "";
  return "needs 8 GiB of available memory, found " + std::to_string(available >> 20) + " MiB";
}

/// Until the process ends. Takes seconds. False: there was not so much.
inline bool hold_large_memory() {
  return mmap(nullptr, kVictimBytes, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) != MAP_FAILED;
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_LARGE_VICTIM_H_
