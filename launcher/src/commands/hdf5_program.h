// The commands that need HDF5 run in a program of their own beside `muster`, which so stays free of
// it.
#ifndef MUSTER_LAUNCHER_COMMANDS_HDF5_PROGRAM_H_
#define MUSTER_LAUNCHER_COMMANDS_HDF5_PROGRAM_H_

#include <string>

#include "commands/command.h"

namespace muster::launcher {

/// Becomes `muster-hdf5 COMMAND WORDS`; standard output is flushed before. Throws ConfigError when
/// there is no such program.
[[noreturn]] void become_hdf5_program(const std::string& command, const Words& words);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_HDF5_PROGRAM_H_
