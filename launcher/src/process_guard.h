// A small process that outlives a killed launcher for a moment and ends what the launcher could
// not.
#ifndef MUSTER_LAUNCHER_PROCESS_GUARD_H_
#define MUSTER_LAUNCHER_PROCESS_GUARD_H_

#include <sys/types.h>

#include <string>

#include "file_descriptor.h"

namespace muster::launcher {

/// Ranks die with their launcher by PR_SET_PDEATHSIG, but processes that they started do not. The
/// guard waits on a pipe whose other end only the launcher holds; when it closes without a
/// farewell, the guard kills every process that has MUSTER_RUN_ID=`run_id` in its environment.
class ProcessGuard {
 public:
  /// Forks the guard. Before any thread is started and any rank forked. Throws InternalError.
  explicit ProcessGuard(const std::string& run_id);
  /// Says farewell and waits for the guard to leave.
  ~ProcessGuard();
  ProcessGuard(const ProcessGuard&) = delete;
  ProcessGuard& operator=(const ProcessGuard&) = delete;

  pid_t pid() const { return pid_; }

 private:
  FileDescriptor lifeline_;
  pid_t pid_ = -1;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_PROCESS_GUARD_H_
