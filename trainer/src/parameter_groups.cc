// Reading and matching parameter groups.
#include "muster/trainer/parameter_groups.h"

#include <charconv>
#include <cmath>

#include "muster/base/error.h"

namespace muster {
namespace {

[[noreturn]] void refuse(const std::string& expected, const std::string& found) {
  throw ConfigError("--parameter-groups: expected " + expected + ", found '" + found +
                    "'; write PATTERN:learning-rate-factor=X,weight-decay=Y; PATTERN:...");
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (std::size_t end; (end = text.find(separator, at)) != std::string::npos; at = end + 1)
    parts.push_back(trimmed(text.substr(at, end - at)));
  parts.push_back(trimmed(text.substr(at)));
  return parts;
}

double parse_factor(const std::string& text, const std::string& setting) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end || !std::isfinite(value) || value < 0)
    refuse("a number of 0 or more", setting);
  return value;
}

ParameterGroup parse_group(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0) refuse("a pattern before a colon", text);
  ParameterGroup group{trimmed(text.substr(0, colon)), 1.0, std::nullopt};
  for (const std::string& setting : split(text.substr(colon + 1), ',')) {
    const std::size_t equals = setting.find('=');
    const std::string name = trimmed(setting.substr(0, equals));
    const std::string value =
        equals == std::string::npos ? "" : trimmed(setting.substr(equals + 1));
    if (name == "learning-rate-factor") {
      group.learning_rate_factor = parse_factor(value, setting);
    } else if (name == "weight-decay") {
      group.weight_decay = parse_factor(value, setting);
    } else {
      refuse("learning-rate-factor or weight-decay", setting);
    }
  }
  return group;
}

}  // namespace

std::vector<ParameterGroup> parse_parameter_groups(const std::string& text) {
  std::vector<ParameterGroup> groups;
  if (trimmed(text).empty()) return groups;
  for (const std::string& part : split(text, ';')) groups.push_back(parse_group(part));
  return groups;
}

std::vector<std::string> split_patterns(const std::string& text) {
  return trimmed(text).empty() ? std::vector<std::string>{} : split(text, ',');
}

// One * at a time: where the rest does not fit, the latest * takes one character more.
bool matches_pattern(const std::string& pattern, const std::string& name) {
  std::size_t p = 0, n = 0, star = std::string::npos, star_name = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string::npos;
}

}  // namespace muster
