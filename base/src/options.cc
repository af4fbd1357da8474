// Options on cxxopts: it splits the command line and lays out the help; types, files and messages
// are ours.
#include "muster/base/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cxxopts.hpp>
#include <numeric>

#include "muster/base/check.h"
#include "muster/base/env.h"
#include "muster/base/error.h"

namespace muster {
namespace {

constexpr const char* kOtherGroup = "Other";

std::string double_text(double value) {
  // The shortest text that reads back to the same double.
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

std::string target_text(const OptionSet::Target& target) {
  if (auto* const* i = std::get_if<std::int64_t*>(&target)) return std::to_string(**i);
  if (auto* const* d = std::get_if<double*>(&target)) return double_text(**d);
  if (auto* const* b = std::get_if<bool*>(&target)) return **b ? "true" : "false";
  return *std::get<std::string*>(target);
}

const char* target_kind(const OptionSet::Target& target) {
  constexpr const char* kKinds[] = {"a whole number", "a number", "true or false", "text"};
  return kKinds[target.index()];
}

template <typename T>
bool parse_whole(const std::string& text, T* out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stop == end;
}

bool parse_bool(const std::string& text, bool* out) {
  *out = text == "true" || text == "1";
  return *out || text == "false" || text == "0";
}

std::string join(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::string read_config_file(const std::string& path) {
  try {
    return make_system_env()->read_text(path);
  } catch (const FileError& e) {
    throw ConfigError("--config: expected a readable JSON file, found: " + std::string(e.what()) +
                      "; check the path");
  }
}

}  // namespace

OptionSet::OptionSet(std::string program, std::string description)
    : program_(std::move(program)), description_(std::move(description)) {}

void OptionSet::group(const std::string& title) { current_group_ = title; }

void OptionSet::add(const std::string& name, Target target, const std::string& help) {
  // One letter would be a short flag to cxxopts, and a comma two names.
  const bool well_formed =
      name.size() >= 2 && std::islower(static_cast<unsigned char>(name.front())) != 0 &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
  MUSTER_CHECK(well_formed) << "option '" << name
                            << "': expected two or more of a-z, 0-9 and -, beginning with a letter";
  MUSTER_CHECK(find(name) == nullptr && name != "help" && name != "config")
      << "option --" << name << " is already taken; choose another name";
  options_.push_back({name, help, current_group_, target_text(target), target, {}, "", false});
}

void OptionSet::add_number_or(const std::string& name, std::int64_t* target,
                              const std::string& word, const std::string& help) {
  add(name, target, help);
  options_.back().zero_word = word;
  if (*target == 0) options_.back().default_text = word;
}

void OptionSet::add_choice(const std::string& name, std::string* target,
                           std::vector<std::string> choices, const std::string& help) {
  add(name, target, help + " (" + join(choices, " | ") + ")");
  options_.back().choices = std::move(choices);
}

OptionSet::Option* OptionSet::find(const std::string& name) {
  const auto it = std::find_if(options_.begin(), options_.end(),
                               [&](const Option& o) { return o.name == name; });
  return it == options_.end() ? nullptr : &*it;
}

bool OptionSet::was_given(const std::string& name) const {
  return std::any_of(options_.begin(), options_.end(),
                     [&](const Option& o) { return o.name == name && o.given; });
}

void OptionSet::check_choice(const Option& option, const std::string& value,
                             const std::string& origin) const {
  if (option.choices.empty()) return;
  if (std::find(option.choices.begin(), option.choices.end(), value) != option.choices.end())
    return;
  throw ConfigError(origin + ": expected one of " + join(option.choices, ", ") + ", found '" +
                    value + "'");
}

void OptionSet::set_from_text(Option& option, const std::string& text, const std::string& origin) {
  bool good = true;
  if (auto** i = std::get_if<std::int64_t*>(&option.target)) {
    const bool word = !option.zero_word.empty();
    std::int64_t value = 0;
    good =
        (word && text == option.zero_word) || (parse_whole(text, &value) && (!word || value > 0));
    if (good) **i = value;
    if (!good && word) {
      throw ConfigError(origin + ": expected a whole number above 0, or " + option.zero_word +
                        ", found '" + text + "'; see --help");
    }
  } else if (auto** d = std::get_if<double*>(&option.target)) {
    double value = 0;
    good = parse_whole(text, &value) && std::isfinite(value);
    if (good) **d = value;
  } else if (auto** b = std::get_if<bool*>(&option.target)) {
    bool value = false;
    good = parse_bool(text, &value);
    if (good) **b = value;
  } else {
    check_choice(option, text, origin);
    *std::get<std::string*>(option.target) = text;
  }
  if (!good) {
    throw ConfigError(origin + ": expected " + target_kind(option.target) + ", found '" + text +
                      "'; see --help");
  }
  option.given = true;
}

namespace {

/// The set as cxxopts sees it: every value is text, since the types are checked with our own
/// messages.
template <typename Options>
cxxopts::Options make_parser(const std::string& program, const std::string& description,
                             const Options& options) {
  cxxopts::Options parser(program, description);
  parser.allow_unrecognised_options();
  for (const auto& option : options) {
    auto value = cxxopts::value<std::string>();
    if (std::holds_alternative<bool*>(option.target)) value->implicit_value("true");
    if (!option.default_text.empty()) value->default_value(option.default_text);
    parser.add_options(option.group)(option.name, option.help, value);
  }
  parser.add_options(kOtherGroup)("config",
                                  "Read options from a JSON file first; flags win over it",
                                  cxxopts::value<std::string>());
  parser.add_options(kOtherGroup)("help", "Print this text and leave");
  return parser;
}

struct CommandLine {
  std::vector<std::pair<std::string, std::string>> given;  // in the order written
  std::vector<std::string> unmatched;
};

/// A template, so that each version of cxxopts sees its own interface alone: up to 2 parse() takes
/// references and leaves in `arguments` what it did not know; from 3 on the result holds that.
template <typename Parser>
CommandLine split_command_line(Parser& parser, int argc, const char* const* argv) {
  std::vector<char*> copy(argc, nullptr);
  // cxxopts 2 moves the pointers about, in our copy; no version writes to the strings.
  std::transform(argv, argv + argc, copy.begin(),
                 [](const char* s) { return const_cast<char*>(s); });
  copy.push_back(nullptr);
  char** arguments = copy.data();
  const auto result = parser.parse(argc, arguments);
  CommandLine line;
  for (const auto& pair : result.arguments()) line.given.emplace_back(pair.key(), pair.value());
  if constexpr (requires { result.unmatched(); }) {
    line.unmatched = result.unmatched();
  } else {
    line.unmatched.assign(arguments + 1, arguments + argc);
  }
  return line;
}

}  // namespace

OptionSet::Outcome OptionSet::parse(int argc, const char* const* argv) {
  MUSTER_CHECK_GE(argc, 1);
  cxxopts::Options parser = make_parser(program_, description_, options_);
  CommandLine line;
  try {
    line = split_command_line(parser, argc, argv);
  } catch (const std::exception& e) {  // cxxopts' own classes were renamed between its versions
    throw ConfigError("command line: " + std::string(e.what()) + "; see --help");
  }
  const auto is = [](const char* name) {
    return [name](const auto& pair) { return pair.first == name; };
  };
  if (std::any_of(line.given.begin(), line.given.end(), is("help"))) return Outcome::kHelp;
  if (!line.unmatched.empty()) throw_unknown(line.unmatched.front());
  // The config files first, the flags over them.
  for (const auto& [name, text] : line.given) {
    if (name == "config") apply_config_file(text);
  }
  for (const auto& [name, text] : line.given) {
    if (name != "config") set_from_text(*find(name), text, "--" + name);
  }
  return Outcome::kRun;
}

void OptionSet::throw_unknown(const std::string& argument) const {
  if (argument.rfind("--", 0) != 0) {
    throw ConfigError("command line: expected flags alone, found '" + argument +
                      "'; write --name VALUE, a bool as --name or --name=false, and see --help");
  }
  const std::string word = argument.substr(0, argument.find('='));
  std::vector<std::string> names = {"--help", "--config"};
  for (const Option& option : options_) names.push_back("--" + option.name);
  if (std::find(names.begin(), names.end(), word) != names.end()) {
    // cxxopts looks for "=" and the value in one line
    throw ConfigError(word + ": expected a value of one line after '='; write " + word + " VALUE");
  }
  const std::string nearest = nearest_name(word, names);
  throw ConfigError("command line: expected a known flag, found '" + word + "'" +
                    (nearest.empty() ? "; see --help" : "; did you mean " + nearest + "?"));
}

void OptionSet::apply_config_file(const std::string& path) {
  const std::string text = read_config_file(path);
  try {
    apply_json(parse_json(text, path), path);
  } catch (const DataError& e) {
    throw ConfigError(e.what());
  }
}

std::string OptionSet::help() const {
  std::vector<std::string> groups;  // named, since cxxopts 2 keeps them in no order
  for (const Option& option : options_) {
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) {
      groups.push_back(option.group);
    }
  }
  groups.push_back(kOtherGroup);
  return make_parser(program_, description_, options_).help(groups);
}

Json OptionSet::to_json() const {
  Json json = Json::object();
  for (const Option& option : options_) {
    std::visit([&](auto* value) { json[option.name] = *value; }, option.target);
    if (!option.zero_word.empty() && json[option.name] == 0) json[option.name] = option.zero_word;
  }
  return json;
}

void OptionSet::apply_json(const Json& values, const std::string& origin) {
  if (!values.is_object()) {
    throw ConfigError(origin + ": expected a JSON object of option names and values");
  }
  for (const auto& [name, value] : values.items()) {
    Option* option = find(name);
    if (option == nullptr) {
      std::vector<std::string> names;
      for (const Option& o : options_) names.push_back(o.name);
      const std::string nearest = nearest_name(name, names);
      throw ConfigError(origin + ": expected a known option, found '" + name + "'" +
                        (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
    }
    const bool is_text = std::holds_alternative<std::string*>(option->target) ||
                         (value.is_string() && value == option->zero_word);
    if (is_text != value.is_string()) {
      throw ConfigError(origin + ": '" + name + "': expected " + target_kind(option->target) +
                        ", found " + value.dump());
    }
    set_from_text(*option, is_text ? value.get<std::string>() : value.dump(),
                  origin + ": '" + name + "'");
  }
}

std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates) {
  // Levenshtein distance, one row at a time.
  const auto distance = [](const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= b.size(); ++j) {
        const std::size_t above = row[j];
        const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
        row[j] = std::min({above + 1, row[j - 1] + 1, change});
        diagonal = above;
      }
    }
    return row[b.size()];
  };
  std::string best;
  std::size_t best_distance = word.size() / 3 + 2;  // farther is a guess, not a help
  for (const std::string& candidate : candidates) {
    const std::size_t d = distance(word, candidate);
    if (d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace muster
