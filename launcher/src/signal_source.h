// Signals as a descriptor to be polled.
#ifndef MUSTER_LAUNCHER_SIGNAL_SOURCE_H_
#define MUSTER_LAUNCHER_SIGNAL_SOURCE_H_

#include <csignal>
#include <vector>

#include "file_descriptor.h"

namespace muster::launcher {

/// Blocks SIGCHLD, SIGINT, SIGTERM and SIGHUP and delivers them through fd(); SIGPIPE is ignored. A
/// signal that was ignored when we were started (nohup, a shell's background job) stays ignored.
/// One at a time in a process; the destructor restores everything.
class SignalSource {
 public:
  SignalSource();
  ~SignalSource();
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;

  int fd() const { return fd_.get(); }
  /// The signals that have come. Never blocks.
  std::vector<int> take();

 private:
  FileDescriptor fd_;
  sigset_t old_mask_;
  struct sigaction old_pipe_action_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_SIGNAL_SOURCE_H_
