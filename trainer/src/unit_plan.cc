// Names and numbers.
#include "unit_plan.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

#include "muster/base/error.h"
#include "muster/trainer/parameter_groups.h"

namespace muster::internal {
namespace {

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// "" where there is no number.
std::string block_of(const std::string& name) {
  for (std::size_t begin = 0, dot = name.find('.'); dot != std::string::npos;
       begin = dot + 1, dot = name.find('.', begin)) {
    if (is_number(name.substr(begin, dot - begin))) return name.substr(0, dot);
  }
  return "";
}

/// The outermost of the modules around a parameter that `pattern` matches; "" where it matches
/// none.
std::string outermost_match(const std::string& pattern, const std::string& name) {
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    if (matches_pattern(pattern, name.substr(0, dot))) return name.substr(0, dot);
  }
  return "";
}

/// The innermost of what the patterns mean.
std::string module_of(const std::string& name, const std::vector<std::string>& patterns) {
  std::string innermost;
  for (const std::string& pattern : patterns) {
    std::string module = outermost_match(pattern, name);
    if (module.size() > innermost.size()) innermost = std::move(module);
  }
  return innermost;
}

void check_pattern(const std::string& pattern, const std::vector<std::string>& names) {
  const bool means_something = std::any_of(names.begin(), names.end(), [&](const auto& name) {
    return !outermost_match(pattern, name).empty();
  });
  if (means_something) return;
  throw ConfigError("units: expected names of modules that have parameters, found '" + pattern +
                    "'; the first parameter is " + names.front() + ", the last " + names.back());
}

}  // namespace

std::vector<std::vector<std::size_t>> plan_units(const std::vector<std::string>& names,
                                                 const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) check_pattern(pattern, names);
  std::vector<std::vector<std::size_t>> units;
  std::map<std::string, std::size_t> unit_of;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string module =
        patterns.empty() ? block_of(names[i]) : module_of(names[i], patterns);
    const auto [place, is_new] = unit_of.try_emplace(module, units.size());
    if (is_new) units.emplace_back();
    units[place->second].push_back(i);
  }
  return units;
}

}  // namespace muster::internal
