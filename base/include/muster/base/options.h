// Options: fields of plain structs <-> command-line flags <-> a --config file <-> the printed,
// reloadable form.
#ifndef MUSTER_BASE_OPTIONS_H_
#define MUSTER_BASE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "muster/base/json.h"

namespace muster {

/// A program's options. Each is bound to a variable that holds its default before parse() and its
/// value after. Flags are written --name VALUE or --name=VALUE; a bool is --name or --name=false.
/// `--config FILE` reads a JSON object of the same names first; flags win over the file. What is
/// given twice has its last value. `--help` and
/// `--config` belong to every set.
class OptionSet {
 public:
  using Target = std::variant<std::int64_t*, double*, bool*, std::string*>;

  OptionSet(std::string program, std::string description);

  /// Begins a titled group in the help text.
  void group(const std::string& title);
  /// Binds `--name`. `name` is lower case with dashes, two characters or more. `target` must
  /// outlive this set. Throws InternalError when the name is taken or not so made.
  void add(const std::string& name, Target target, const std::string& help);
  /// A text option that must be one of `choices`.
  void add_choice(const std::string& name, std::string* target, std::vector<std::string> choices,
                  const std::string& help);
  /// A whole number above 0, or `word`, for which the variable is 0.
  void add_number_or(const std::string& name, std::int64_t* target, const std::string& word,
                     const std::string& help);

  enum class Outcome { kRun, kHelp };
  /// Sets the variables. kHelp when --help was given: print help() and leave with 0.
  /// Throws ConfigError: unknown flag (with the nearest name), missing or malformed value,
  /// unreadable or wrong config file.
  Outcome parse(int argc, const char* const* argv);

  std::string help() const;
  /// Every option with its present value; what --config reads back.
  Json to_json() const;
  /// Sets variables from such an object. Throws ConfigError naming `origin` and the key.
  void apply_json(const Json& values, const std::string& origin);
  /// Names given on the command line or in the config file.
  bool was_given(const std::string& name) const;

 private:
  struct Option {
    std::string name;
    std::string help;
    std::string group;
    std::string default_text;
    Target target;
    std::vector<std::string> choices;
    std::string zero_word;  // what 0 is called; empty: it is a number like others
    bool given = false;
  };
  Option* find(const std::string& name);
  [[noreturn]] void throw_unknown(const std::string& argument) const;
  void apply_config_file(const std::string& path);
  void set_from_text(Option& option, const std::string& text, const std::string& origin);
  void check_choice(const Option& option, const std::string& value,
                    const std::string& origin) const;

  std::string program_;
  std::string description_;
  std::string current_group_;
  std::vector<Option> options_;
};

/// The entry of `candidates` nearest to `word` by edit distance, or "" when none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace muster

#endif  // MUSTER_BASE_OPTIONS_H_
