// Doing something that may hang or crash: in a child, with a deadline.
#ifndef MUSTER_LAUNCHER_DOCTOR_ASK_CHILD_H_
#define MUSTER_LAUNCHER_DOCTOR_ASK_CHILD_H_

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace muster::launcher::doctor {

struct Answer {
  std::string text;
  std::string error;  ///< Why there is no answer; empty: there is one.
};

/// What `work` returns, or throws, in a fork of this process. Blocks for `limit` at most. A child
/// that does not go when it is killed, since a driver holds it, is left behind.
Answer ask_child(const std::function<std::string()>& work, std::chrono::milliseconds limit);

struct ProgramOutput {
  std::string output;
  std::string error_output;
  int exit_code = -1;      ///< 128 + the signal that killed it.
  bool timed_out = false;  ///< It was killed.
};

/// Runs `words`, whose first is a program's path, with `environment` ("NAME=value"). Blocks for
/// `limit` at most; then it is told to end by SIGTERM and, a second later, by SIGKILL. Throws
/// ConfigError when it cannot be started.
ProgramOutput run_program(const std::vector<std::string>& words,
                          const std::vector<std::string>& environment,
                          std::chrono::milliseconds limit);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_ASK_CHILD_H_
