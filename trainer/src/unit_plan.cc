// Names and numbers.
#include "unit_plan.h"

#include <algorithm>
#include <cctype>
#include <map>

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

}  // namespace

std::vector<std::vector<std::size_t>> plan_units(const std::vector<std::string>& names) {
  std::vector<std::vector<std::size_t>> units;
  std::map<std::string, std::size_t> unit_of;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [place, is_new] = unit_of.try_emplace(block_of(names[i]), units.size());
    if (is_new) units.emplace_back();
    units[place->second].push_back(i);
  }
  return units;
}

}  // namespace muster::internal
