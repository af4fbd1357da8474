// Which process wrote a file, and whether it is still there: for readers of what outlives
// processes.
#ifndef MUSTER_BASE_PROCESS_IDENTITY_H_
#define MUSTER_BASE_PROCESS_IDENTITY_H_

#include <cstdint>
#include <string>

namespace muster {

/// Names one process over all machines and boots: a pid alone is given out again.
struct ProcessIdentity {
  std::int64_t pid = 0;
  std::uint64_t start_ticks = 0;    ///< Field 22 of /proc/PID/stat: clock ticks since the boot.
  std::uint64_t pid_namespace = 0;  ///< Inode of /proc/self/ns/pid; 0 where it cannot be read.
  std::string boot_id;              ///< /proc/sys/kernel/random/boot_id; "" where there is none.
  std::string host;

  bool operator==(const ProcessIdentity&) const = default;
};

enum class ProcessState {
  kUnknown,  ///< Of another machine, boot or pid namespace.
  kRunning,
  kStopped,  ///< By SIGSTOP, a terminal or a debugger.
  kGone,     ///< Ended, reaped or not.
};

ProcessIdentity own_process_identity();

/// Reads /proc; never throws.
ProcessState process_state(const ProcessIdentity& process);

namespace internal {
/// What process_state() finds for the text of /proc/PID/stat ("" when there is no such process).
ProcessState state_from_stat(const std::string& stat, std::uint64_t start_ticks);
}  // namespace internal

}  // namespace muster

#endif  // MUSTER_BASE_PROCESS_IDENTITY_H_
