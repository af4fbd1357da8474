// Reading the words of the small commands: operands and switches.
#ifndef MUSTER_LAUNCHER_COMMANDS_WORDS_H_
#define MUSTER_LAUNCHER_COMMANDS_WORDS_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "commands/command.h"

namespace muster::launcher {

struct ParsedWords {
  std::vector<std::string> operands;
  std::set<std::string> switches;             ///< As "--json".
  std::map<std::string, std::string> values;  ///< By flag, as "--last"; of two the last.
};

/// `valued` are flags with a value, given as --name VALUE or --name=VALUE. Throws ConfigError on an
/// unknown flag (with the nearest one), a missing value or a wrong number of operands. `--help` is
/// not among `switches`: print the command's help when it was given.
ParsedWords take_words(const Words& words, const std::string& command,
                       const std::vector<std::string>& switches, std::size_t min_operands,
                       std::size_t max_operands, const std::vector<std::string>& valued = {});

/// True when the command's help is wanted instead of the command.
bool wants_help(const Words& words);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_WORDS_H_
