// Operands and switches.
#include "commands/words.h"

#include <algorithm>

#include "muster/base/error.h"
#include "muster/base/options.h"

namespace muster::launcher {

ParsedWords take_words(const Words& words, const std::string& command,
                       const std::vector<std::string>& switches, std::size_t min_operands,
                       std::size_t max_operands) {
  const std::string see_help = "; see muster help " + command;
  ParsedWords parsed;
  for (const std::string& word : words) {
    if (!word.starts_with("-")) {
      parsed.operands.push_back(word);
      continue;
    }
    if (std::find(switches.begin(), switches.end(), word) == switches.end()) {
      const std::string nearest = nearest_name(word, switches);
      throw ConfigError("muster " + command + ": expected a known flag, found '" + word + "'" +
                        (nearest.empty() ? see_help : "; did you mean " + nearest + "?"));
    }
    parsed.switches.insert(word);
  }
  const std::size_t count = parsed.operands.size();
  if (count < min_operands || count > max_operands) {
    throw ConfigError("muster " + command + ": expected " + std::to_string(min_operands) +
                      (max_operands > min_operands ? " to " + std::to_string(max_operands) : "") +
                      " arguments, found " + std::to_string(count) + see_help);
  }
  return parsed;
}

bool wants_help(const Words& words) {
  return std::any_of(words.begin(), words.end(),
                     [](const std::string& word) { return word == "--help" || word == "-h"; });
}

}  // namespace muster::launcher
