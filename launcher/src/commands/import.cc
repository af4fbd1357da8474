// muster import
#include <cstdio>

#include "commands/command.h"
#include "commands/sibling_program.h"
#include "commands/words.h"

namespace muster::launcher {

int import_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(import_command_help().c_str(), stdout);
    return 0;
  }
  become_sibling("muster-hdf5", "import", words);
}

std::string import_command_help() {
  return "usage: muster import FILE DIR [--as-is]\n"
         "Writes the tensors of FILE, a .safetensors file or the .safetensors.index.json of "
         "several, as the checkpoint of\n"
         "step 0 in DIR, which must hold no checkpoints yet: named as a trainer names a model's "
         "parameters and buffers\n"
         "(model.*), with checksums of every byte.\n"
         "  --as-is   keep the file's names as they are\n";
}

}  // namespace muster::launcher
