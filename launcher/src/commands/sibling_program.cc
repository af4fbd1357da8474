// Found as git finds its own: beside this program.
#include "commands/sibling_program.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "muster/base/error.h"

namespace muster::launcher {

std::filesystem::path sibling_program(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

void become_sibling(const std::string& name, const std::string& command, const Words& words) {
  const std::string program = sibling_program(name);
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

bool is_store_url(const std::string& word) { return word.starts_with("s3://"); }

void leave_stores_to_sibling(const std::string& command, const Words& words) {
  if (std::any_of(words.begin(), words.end(), is_store_url))
    become_sibling("muster-store", command, words);
}

}  // namespace muster::launcher
