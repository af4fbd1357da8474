// Looking at the machine: the shell around findings(). Reads, probes and runs; decides nothing.
#ifndef MUSTER_LAUNCHER_DOCTOR_GATHER_H_
#define MUSTER_LAUNCHER_DOCTOR_GATHER_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "doctor/facts.h"
#include "doctor/system_view.h"

namespace muster::launcher::doctor {

/// NAME -> value, of a process.
using Environment = std::map<std::string, std::string>;

/// This process's own.
Environment own_environment();

// From the kernel's files alone: the same under a fabricated root.
CpuFacts gather_cpu(const SystemView& view);
MemoryFacts gather_memory(const SystemView& view);
LimitFacts gather_limits(const SystemView& view);
/// Without the probes and the temporary directory.
SystemFacts gather_system(const SystemView& view);
/// $TMPDIR, else /tmp.
void gather_temporary_directory(const Environment& environment, SystemFacts& facts);
/// Without the round trip.
NetworkFacts gather_network(const SystemView& view);
/// What Open MPI's dead processes of this user left in /dev/shm and in `temporary`, a directory.
std::vector<Leftover> gather_leftovers(const SystemView& view, const std::string& temporary);

/// Those variables that a job, its libraries or its launcher look at. Secrets are left out.
Environment relevant_environment(const Environment& all);

/// Runs `mpirun --version` of each installation in PATH; lists libmpi of LD_LIBRARY_PATH.
MpiFacts gather_mpi(const Environment& environment);
/// Runs `program` to hear what it loads.
BuildFacts gather_build(const std::string& program);
/// Loads NVIDIA's libraries, in a process of its own: a broken driver may hang or crash it.
GpuFacts gather_gpu(const SystemView& view);
/// Tries `directory`, which exists; writes a file there when `measure`, and removes it.
StorageFacts gather_storage(const std::string& directory, bool measure);
/// The median round trip of a byte over TCP and 127.0.0.1.
void measure_loopback(NetworkFacts& facts);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_GATHER_H_
