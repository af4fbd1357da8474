// The flags of `muster run`, their rules and their help.
#include "launch_options.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "muster/base/error.h"
#include "muster/base/node_memory.h"
#include "muster/base/options.h"

namespace muster::launcher {
namespace {

// The flags as they are read, before their rules are checked.
struct Flags {
  std::int64_t ranks = 1;
  std::int64_t max_restarts = 3;
  std::string elastic;
  std::string log_directory;
  double grace_seconds = 30;
  bool quiet = false;
};

OptionSet make_option_set(Flags& flags) {
  OptionSet set("muster run",
                "Starts PROGRAM on N ranks of this machine and keeps it alive.\n"
                "usage: muster run [-n N] [flags] [--] PROGRAM [ARGUMENTS]");
  set.add("ranks", &flags.ranks,
          "number of ranks; -n N is the same; with --elastic its MAX unless given");
  set.add("max-restarts", &flags.max_restarts,
          "how often to start again after a crash; -1: no limit");
  set.add("elastic", &flags.elastic,
          "MIN:MAX: a crashed rank's slot is given up, so the job goes on with fewer ranks, down "
          "to MIN");
  set.add("log-dir", &flags.log_directory,
          "directory for the ranks' output; muster-logs/RUN-ID unless given");
  set.add(
      "grace", &flags.grace_seconds,
      "seconds the ranks have to save and leave after Ctrl-C or SIGTERM, before they are killed");
  set.add("quiet", &flags.quiet, "no progress and no notes; errors are still told");
  return set;
}

// `-n` and `-h` are the only short flags; OptionSet knows long ones.
std::string long_form(const std::string& word) {
  if (word == "-h") return "--help";
  if (word == "-n") return "--ranks";
  if (word.starts_with("-n=")) return "--ranks=" + word.substr(3);
  if (word.starts_with("-") && !word.starts_with("--")) {
    throw ConfigError("muster run: expected a known flag, found '" + word +
                      "'; see muster help run");
  }
  return word;
}

bool stands_alone(const std::string& flag) {
  return flag == "--quiet" || flag == "--help" || flag.find('=') != std::string::npos;
}

/// The command line cut in two.
struct Split {
  std::vector<std::string> own;      ///< --name=value, or --name where no value belongs to it.
  std::vector<std::string> program;  ///< The program and its words.
};

// Our words end at `--`, or at the first word that is neither a flag nor a flag's value. A value is
// joined to its flag, so that a value like -1 is never taken for a flag.
Split split_words(const std::vector<std::string>& words) {
  Split split;
  std::size_t i = 0;
  while (i < words.size() && words[i].size() > 1 && words[i][0] == '-' && words[i] != "--") {
    std::string flag = long_form(words[i++]);
    if (!stands_alone(flag) && i < words.size()) flag += "=" + words[i++];
    split.own.push_back(std::move(flag));
  }
  if (i < words.size() && words[i] == "--") ++i;
  split.program.assign(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
  return split;
}

std::optional<int> parse_count(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ElasticRange> parse_elastic(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto min = parse_count(std::string_view(text).substr(0, colon));
  const auto max = parse_count(std::string_view(text).substr(colon + 1));
  if (!min || !max || *min < 1 || *max < *min) return std::nullopt;
  return ElasticRange{*min, *max};
}

class Problems {
 public:
  void add(const std::string& problem) { text_ += (text_.empty() ? "" : "; ") + problem; }
  void throw_if_any() const {
    if (!text_.empty()) throw ConfigError("muster run: " + text_ + "; see muster help run");
  }

 private:
  std::string text_;
};

std::string found(std::int64_t value) { return ", found " + std::to_string(value); }

LaunchOptions checked(const Flags& flags, bool ranks_given) {
  Problems problems;
  LaunchOptions options;
  std::int64_t ranks = flags.ranks;
  if (!flags.elastic.empty()) {
    options.elastic = parse_elastic(flags.elastic);
    if (!options.elastic) {
      problems.add("--elastic: expected MIN:MAX with 1 <= MIN <= MAX, found '" + flags.elastic +
                   "'");
    } else if (!ranks_given) {
      ranks = options.elastic->max;
    } else if (ranks < options.elastic->min || ranks > options.elastic->max) {
      problems.add("-n: expected a number within --elastic " + flags.elastic + found(ranks));
    }
  }
  if (ranks < 1 || ranks > kMaxLocalRanks) {
    problems.add("-n: expected 1 to " + std::to_string(kMaxLocalRanks) + " ranks" + found(ranks));
  }
  if (flags.max_restarts < -1 || flags.max_restarts > INT32_MAX) {
    problems.add("--max-restarts: expected a count, or -1 for no limit" +
                 found(flags.max_restarts));
  }
  if (!(flags.grace_seconds >= 0 && flags.grace_seconds <= 1e6)) {
    problems.add("--grace: expected seconds from 0 to 1000000, found " +
                 std::to_string(flags.grace_seconds));
  }
  problems.throw_if_any();
  options.ranks = static_cast<int>(ranks);
  options.max_restarts = static_cast<int>(flags.max_restarts);
  options.log_directory = flags.log_directory;
  options.grace = std::chrono::milliseconds(static_cast<std::int64_t>(flags.grace_seconds * 1000));
  options.quiet = flags.quiet;
  return options;
}

}  // namespace

std::optional<LaunchOptions> parse_launch_options(const std::vector<std::string>& words) {
  const Split split = split_words(words);
  std::vector<const char*> argv{"muster run"};
  for (const std::string& word : split.own) argv.push_back(word.c_str());

  Flags flags;
  OptionSet set = make_option_set(flags);
  if (set.parse(static_cast<int>(argv.size()), argv.data()) == OptionSet::Outcome::kHelp) {
    return std::nullopt;
  }
  LaunchOptions options = checked(flags, set.was_given("ranks"));
  if (split.program.empty()) {
    throw ConfigError(
        "muster run: expected a program to start, found none; "
        "write muster run -n 2 -- ./program its arguments");
  }
  options.program = split.program.front();
  options.arguments.assign(split.program.begin() + 1, split.program.end());
  return options;
}

std::string launch_help() {
  Flags flags;
  return make_option_set(flags).help();
}

}  // namespace muster::launcher
