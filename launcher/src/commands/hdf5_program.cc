// Found as git finds its own: beside this program.
#include "commands/hdf5_program.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "muster/base/error.h"

namespace muster::launcher {

void become_hdf5_program(const std::string& command, const Words& words) {
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "muster-hdf5";
  std::vector<std::string> arguments = {program, command};
  arguments.insert(arguments.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::fflush(stdout);
  execv(program.c_str(), argv.data());
  throw ConfigError("muster " + command + ": expected to start " + program + ", found: " +
                    errno_text(errno) + "; install all of Muster's programs together");
}

}  // namespace muster::launcher
