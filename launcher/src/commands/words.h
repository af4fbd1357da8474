// Reading the words of the small commands: operands and switches.
#ifndef MUSTER_LAUNCHER_COMMANDS_WORDS_H_
#define MUSTER_LAUNCHER_COMMANDS_WORDS_H_

#include <set>
#include <string>
#include <vector>

#include "commands/command.h"

namespace muster::launcher {

struct ParsedWords {
  std::vector<std::string> operands;
  std::set<std::string> switches;  ///< As "--json".
};

/// Throws ConfigError on an unknown switch (with the nearest one) or a wrong number of operands.
/// `--help` is not among `switches`: print the command's help when it was given.
ParsedWords take_words(const Words& words, const std::string& command,
                       const std::vector<std::string>& switches, std::size_t min_operands,
                       std::size_t max_operands);

/// True when the command's help is wanted instead of the command.
bool wants_help(const Words& words);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_WORDS_H_
