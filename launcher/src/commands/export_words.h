// What `muster export` was asked for, and what it says when it is done: shared by the two programs
// that do it.
#ifndef MUSTER_LAUNCHER_COMMANDS_EXPORT_WORDS_H_
#define MUSTER_LAUNCHER_COMMANDS_EXPORT_WORDS_H_

#include <string>

#include "commands/words.h"
#include "muster/checkpoint/export.h"

namespace muster::launcher {

struct ExportRequest {
  std::string source;
  std::string target;
  bool hdf5 = false;
  checkpoint::ExportOptions options;
};

/// Throws ConfigError.
ExportRequest parse_export(const Words& words);

void print_exported(const checkpoint::Checkpoint& source, const ExportRequest& request,
                    const checkpoint::Exported& exported);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_EXPORT_WORDS_H_
