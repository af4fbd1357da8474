// Small readers of what the kernel writes.
#include "doctor/system_view.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <system_error>

#include "muster/base/env.h"

namespace muster::launcher::doctor {

std::filesystem::path SystemView::at(const std::string& path) const {
  return root_ / path.substr(1);
}

bool SystemView::exists(const std::string& path) const {
  std::error_code error;
  return std::filesystem::exists(at(path), error);
}

std::optional<std::string> SystemView::text(const std::string& path) const {
  try {
    std::string all = make_system_env()->read_text(at(path));
    all.erase(all.find_last_not_of(" \t\n") + 1);
    return all;
  } catch (const FileError&) {
    return std::nullopt;
  }
}

std::vector<std::string> SystemView::lines(const std::string& path) const {
  std::vector<std::string> all;
  std::istringstream stream(text(path).value_or(""));
  for (std::string line; std::getline(stream, line);) all.push_back(line);
  return all;
}

std::optional<std::int64_t> SystemView::number(const std::string& path) const {
  const auto all = text(path);
  return all ? leading_number(*all) : std::nullopt;
}

std::map<std::string, std::string> SystemView::table(const std::string& path) const {
  std::map<std::string, std::string> result;
  for (const std::string& line : lines(path)) {
    const std::size_t colon = line.find(':');
    const std::size_t end = colon != std::string::npos ? colon : line.find(' ');
    if (end == std::string::npos) continue;
    const std::size_t name_end = line.find_last_not_of(" \t", end - (end > 0 ? 1 : 0));
    const std::size_t value = line.find_first_not_of(" \t", end + 1);
    // The first of a name: /proc/cpuinfo repeats itself for each processor.
    result.emplace(line.substr(0, name_end + 1),
                   value == std::string::npos ? "" : line.substr(value));
  }
  return result;
}

std::vector<std::string> SystemView::names(const std::string& path) const {
  try {
    return make_system_env()->list_directory(at(path));
  } catch (const FileError&) {
    return {};
  }
}

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    int first = 0;
    const char* const end = part.data() + part.size();
    auto result = std::from_chars(part.data(), end, first);
    if (result.ec != std::errc()) continue;
    int last = first;
    if (result.ptr != end && *result.ptr == '-') {
      result = std::from_chars(result.ptr + 1, end, last);
      if (result.ec != std::errc()) continue;
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::string chosen_word(const std::string& text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return "";
  return text.substr(open + 1, close - open - 1);
}

std::optional<std::int64_t> leading_number(const std::string& text) {
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace muster::launcher::doctor
