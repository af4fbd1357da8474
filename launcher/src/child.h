// Starting one rank: fork, exec and the pipes to it.
#ifndef MUSTER_LAUNCHER_CHILD_H_
#define MUSTER_LAUNCHER_CHILD_H_

#include <sys/types.h>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "file_descriptor.h"

namespace muster::launcher {

/// What to run, ready to be handed to execve.
struct ChildSpec {
  std::filesystem::path program;       ///< As find_program() found it.
  std::vector<std::string> arguments;  ///< argv, argv[0] included.
  std::vector<std::string> environment;
  std::vector<int> inherited;  ///< Descriptors that stay open, under their own numbers.
};

/// A started process in a session of its own: standard input is /dev/null, output and error are
/// pipes. It dies when the thread that started it dies.
struct Child {
  pid_t pid = -1;
  FileDescriptor standard_output;  ///< Non-blocking.
  FileDescriptor standard_error;   ///< Non-blocking.
  FileDescriptor exec_result;      ///< For confirm_started().
};

/// `name` itself when it has a slash, else the first such file in `path_variable` (a PATH). Throws
/// ConfigError when there is no such file or it may not be executed.
std::filesystem::path find_program(const std::string& name, const std::string& path_variable);

/// Forks; does not wait for exec. Throws InternalError when the system has no process or descriptor
/// left.
Child start_child(const ChildSpec& spec);

/// Blocks until the child runs its program. Throws ConfigError when it cannot ("no such
/// interpreter", "not a program").
void confirm_started(Child& child, const ChildSpec& spec);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_CHILD_H_
