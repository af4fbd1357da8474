// A program that is started, heard to its end, and may be stopped meanwhile.
#ifndef MUSTER_CHECKPOINT_SRC_CHILD_PROGRAM_H_
#define MUSTER_CHECKPOINT_SRC_CHILD_PROGRAM_H_

#include <sys/types.h>

#include <mutex>
#include <string>
#include <vector>

namespace muster::checkpoint::internal {

struct ChildResult {
  int exit_code = 0;  ///< Of a signal: 128 and its number.
  std::string out;
  std::string err;
};

class ChildProgram {
 public:
  /// Starts `words`, the first of which is a path, or a name to look for on PATH; in a process
  /// group of its own, so that a Ctrl-C meant for this process is not its end. Throws ConfigError
  /// where there is no such program, CheckpointError where none can be started.
  explicit ChildProgram(const std::vector<std::string>& words);
  ~ChildProgram();
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  /// Blocks until it has ended. Once.
  ChildResult wait();
  /// Any thread: kills it, if it still runs. wait() then returns.
  void stop();

 private:
  std::mutex mutex_;
  pid_t pid_ = 0;  // 0: reaped
  int out_ = -1;
  int err_ = -1;
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_CHILD_PROGRAM_H_
