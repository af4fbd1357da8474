// Pages from the kernel.
#include "aligned_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "muster/base/error.h"

namespace muster::checkpoint::internal {

AlignedMemory::AlignedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw CheckpointError("memory for a checkpoint: expected " + std::to_string(bytes) +
                          " bytes, found " + errno_text(errno) +
                          "; store less on a rank (more ranks, a higher ZeRO stage)");
  }
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish; without it the pages are small
  data_ = {static_cast<std::byte*>(memory), Free{bytes}};
}

void AlignedMemory::Free::operator()(std::byte* data) const { munmap(data, bytes); }

}  // namespace muster::checkpoint::internal
