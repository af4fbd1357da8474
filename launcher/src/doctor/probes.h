// Trying the kernel's facilities that Muster is built on: a security profile may forbid any of
// them.
#ifndef MUSTER_LAUNCHER_DOCTOR_PROBES_H_
#define MUSTER_LAUNCHER_DOCTOR_PROBES_H_

#include <string>
#include <vector>

#include "doctor/facts.h"

namespace muster::launcher::doctor {

/// Names of the probes, as they stand in Probe::name.
inline constexpr const char* kSharedMemoryProbe = "shared memory (memfd)";
inline constexpr const char* kDescriptorProbe = "passing descriptors (SCM_RIGHTS)";
inline constexpr const char* kDeathProbe = "noticing a dead peer (robust mutex)";
inline constexpr const char* kPidfdProbe = "watching a process (pidfd)";
inline constexpr const char* kOrphansProbe = "adopting orphans (subreaper)";
inline constexpr const char* kPeerMemoryProbe = "reading a peer's memory (process_vm_readv)";

/// Tries each, in a child of its own. Blocks for some milliseconds.
std::vector<Probe> run_probes();

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_PROBES_H_
