// Operands and switches.
#include "commands/words.h"

#include <algorithm>

#include "muster/base/error.h"
#include "muster/base/options.h"

namespace muster::launcher {

ParsedWords take_words(const Words& words, const std::string& command,
                       const std::vector<std::string>& switches, std::size_t min_operands,
                       std::size_t max_operands, const std::vector<std::string>& valued) {
  const std::string see_help = "; see muster help " + command;
  const auto is_one_of = [](const std::vector<std::string>& flags, const std::string& flag) {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  };
  ParsedWords parsed;
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (!word->starts_with("-")) {
      parsed.operands.push_back(*word);
      continue;
    }
    const std::size_t equals = word->find('=');
    const std::string flag = word->substr(0, equals);
    if (is_one_of(valued, flag)) {
      if (equals == std::string::npos && ++word == words.end()) {
        throw ConfigError("muster " + command + ": expected a value after " + flag +
                          ", found none" + see_help);
      }
      parsed.values[flag] = equals == std::string::npos ? *word : word->substr(equals + 1);
    } else if (is_one_of(switches, *word)) {
      parsed.switches.insert(*word);
    } else {
      std::vector<std::string> known = switches;
      known.insert(known.end(), valued.begin(), valued.end());
      const std::string nearest = nearest_name(*word, known);
      throw ConfigError("muster " + command + ": expected a known flag, found '" + *word + "'" +
                        (nearest.empty() ? see_help : "; did you mean " + nearest + "?"));
    }
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
