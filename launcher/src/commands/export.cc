// muster export
#include "muster/checkpoint/export.h"

#include <cstdio>
#include <optional>
#include <string>

#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/export_words.h"
#include "commands/sibling_program.h"

namespace muster::launcher {

int export_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(export_command_help().c_str(), stdout);
    return 0;
  }
  const ExportRequest request = parse_export(words);
  if (request.hdf5) become_sibling("muster-hdf5", "export", words);
  const auto env = make_system_env();
  return with_newest_at(request.source, "export", *env, [&](const checkpoint::Checkpoint& source) {
    print_exported(source, request,
                   checkpoint::export_safetensors(source, request.target, request.options, *env));
    return 0;
  });
}

std::string export_command_help() {
  return "usage: muster export DIR --safetensors FILE | --hdf5 FILE [--dtype T] [--ema | --all]\n"
         "Writes the model of a checkpoint, whatever world size wrote it, as one file: whole "
         "parameters and buffers\n"
         "under the model's own names. DIR is a checkpoint, or a directory of them: then the "
         "newest. Every byte that\n"
         "is read is checked; memory stays at a few MiB; FILE appears whole or not at all.\n"
         "  --safetensors FILE  for Hugging Face's tools, PyTorch and others\n"
         "  --hdf5 FILE         a dataset a tensor, for h5py, h5dump and others\n"
         "  --dtype T           float32, float16 or bfloat16 for what is floating point\n"
         "  --ema               the averages of weights in the place of the weights\n"
         "  --all               every tensor by its full name, optimizer state too\n";
}

}  // namespace muster::launcher
