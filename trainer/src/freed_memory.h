// What malloc does with the memory that a step frees.
#ifndef MUSTER_TRAINER_SRC_FREED_MEMORY_H_
#define MUSTER_TRAINER_SRC_FREED_MEMORY_H_

namespace muster::internal {

/// From here on glibc's malloc keeps up to 256 MiB for the next step, instead of giving them to
/// the system and taking them back page by page. Not where the environment says what it
/// does (GLIBC_TUNABLES, MALLOC_TRIM_THRESHOLD_). Once a process; later calls do nothing.
void keep_freed_memory();

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_FREED_MEMORY_H_
