// Finding and ending processes: children, descendants, and those that carry a mark in their
// environment.
#ifndef MUSTER_LAUNCHER_PROCESS_TREE_H_
#define MUSTER_LAUNCHER_PROCESS_TREE_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace muster::launcher {

/// Living or unreaped children of this process, which has one thread.
std::vector<pid_t> own_children();

/// Processes, this one aside, whose environment at their start had the line `line` ("NAME=value").
std::vector<pid_t> processes_with_environment(const std::string& line);

/// True when `pid` is on its way out already, though its parent cannot see its status yet: a large
/// process frees its memory first.
bool is_exiting(pid_t pid);

/// Makes this process the parent of its orphaned descendants, so that none can hide. Throws
/// InternalError.
void adopt_orphans();

/// Kills and reaps every descendant of this process except the children `spared` and what is below
/// them, until none is left or `limit` has passed. Needs adopt_orphans(). Returns those that would
/// not go.
std::vector<pid_t> kill_descendants(const std::vector<pid_t>& spared,
                                    std::chrono::milliseconds limit);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_PROCESS_TREE_H_
