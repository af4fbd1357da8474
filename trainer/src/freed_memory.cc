// Two settings of glibc's.
#include "freed_memory.h"

#include <malloc.h>

#include <cstdlib>

namespace muster::internal {
namespace {

// The most that glibc takes. Left to itself it rises to what has been freed, but only while the
// other setting is left alone, too.
constexpr int kLargestHeapBlockBytes = 32 << 20;
constexpr int kKeptBytes = 256 << 20;

bool environment_decides() {
  return std::getenv("GLIBC_TUNABLES") != nullptr ||
         std::getenv("MALLOC_TRIM_THRESHOLD_") != nullptr;
}

}  // namespace

void keep_freed_memory() {
  [[maybe_unused]] static const bool once = [] {
    return !environment_decides() && mallopt(M_MMAP_THRESHOLD, kLargestHeapBlockBytes) == 1 &&
           mallopt(M_TRIM_THRESHOLD, kKeptBytes) == 1;
  }();
}

}  // namespace muster::internal
