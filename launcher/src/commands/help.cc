// muster help
#include <cstdio>

#include "commands/command.h"
#include "commands/words.h"
#include "muster/base/error.h"
#include "muster/base/options.h"

namespace muster::launcher {

int help_command(const Words& words) {
  const ParsedWords parsed = take_words(words, "help", {}, 0, 1);
  if (parsed.operands.empty()) {
    std::fputs(help_command_help().c_str(), stdout);
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& command : all_commands()) {
    names.emplace_back(command.name);
    if (parsed.operands[0] != command.name) continue;
    std::fputs(command.help().c_str(), stdout);
    return 0;
  }
  const std::string nearest = nearest_name(parsed.operands[0], names);
  throw ConfigError("muster help: expected a command, found '" + parsed.operands[0] + "'; " +
                    (nearest.empty() ? "see muster --help" : "did you mean " + nearest + "?"));
}

std::string help_command_help() {
  std::string text =
      "Muster trains LibTorch models on many ranks.\n"
      "usage: muster COMMAND [ARGUMENTS]\n\n";
  for (const Command& command : all_commands()) {
    std::string line = "  muster " + std::string(command.name);
    line.resize(22, ' ');
    text += line + command.summary + "\n";
  }
  return text + "\nmuster help COMMAND says more. Exit codes are in docs/failure_model.md.\n";
}

}  // namespace muster::launcher
