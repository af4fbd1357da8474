// muster run
#include <cstdio>

#include "commands/command.h"
#include "launch_options.h"
#include "supervisor.h"

namespace muster::launcher {

int run_command(const Words& words) {
  const auto options = parse_launch_options(words);
  if (!options) {
    std::fputs(run_command_help().c_str(), stdout);
    return 0;
  }
  return Supervisor(*options).run();
}

std::string run_command_help() { return launch_help(); }

}  // namespace muster::launcher
