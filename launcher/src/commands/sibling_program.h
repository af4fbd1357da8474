// Commands that need much (HDF5, Arrow) run in programs of their own beside `muster`, which so
// stays free of it.
#ifndef MUSTER_LAUNCHER_COMMANDS_SIBLING_PROGRAM_H_
#define MUSTER_LAUNCHER_COMMANDS_SIBLING_PROGRAM_H_

#include <filesystem>
#include <string>

#include "commands/command.h"

namespace muster::launcher {

/// Where the program `name` is when it was installed with this one.
std::filesystem::path sibling_program(const std::string& name);

/// Becomes `NAME COMMAND WORDS`; standard output is flushed before. Throws ConfigError when there
/// is no such program.
[[noreturn]] void become_sibling(const std::string& name, const std::string& command,
                                 const Words& words);

/// Whether a word means a place in an object store: "s3://...".
bool is_store_url(const std::string& word);

/// Becomes `muster-store COMMAND WORDS` where one of the words is such a place; else returns.
void leave_stores_to_sibling(const std::string& command, const Words& words);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_SIBLING_PROGRAM_H_
