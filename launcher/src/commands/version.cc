// muster version
#include "muster/base/version.h"

#include <cstdio>

#include "commands/command.h"
#include "commands/words.h"
#include "muster/checkpoint/manifest.h"

namespace muster::launcher {

int version_command(const Words& words) {
  take_words(words, "version", {}, 0, 0);
  std::printf("muster %s (numerics %d, checkpoint format %d)\n", kVersion, kNumericsVersion,
              checkpoint::kFormatVersion);
  return 0;
}

std::string version_command_help() {
  return "usage: muster version\n"
         "Prints the version of Muster, of its numerics and of its checkpoint format.\n";
}

}  // namespace muster::launcher
