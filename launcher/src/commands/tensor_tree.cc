// Layout of the tree.
#include "commands/tensor_tree.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace muster::launcher {
namespace {

using checkpoint::Statistics;

constexpr std::size_t kNameColumn = 50;

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    parts.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string statistics_text(const Statistics& statistics) {
  char text[160] = "";
  if (statistics.finite > 0) {
    std::snprintf(text, sizeof(text), "  min %.4g max %.4g mean %.4g std %.4g", statistics.minimum,
                  statistics.maximum, statistics.mean, statistics.standard_deviation);
  }
  std::string result = text;
  if (statistics.not_finite > 0)
    result += ", " + std::to_string(statistics.not_finite) + " NOT FINITE";
  return result;
}

std::string tensor_line(std::string name, const TensorFacts& tensor) {
  name.resize(std::max(name.size(), kNameColumn), ' ');
  char text[96];
  std::snprintf(text, sizeof(text), " %-9s %-20s %12lld bytes",
                std::string(dtype_name(tensor.dtype)).c_str(), shape_text(tensor.shape).c_str(),
                static_cast<long long>(tensor.bytes));
  return name + text + statistics_text(tensor.statistics) + "\n";
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

Json to_json(const TensorFacts& tensor) {
  const Statistics& statistics = tensor.statistics;
  return {{"name", tensor.name},
          {"dtype", dtype_name(tensor.dtype)},
          {"shape", tensor.shape},
          {"bytes", tensor.bytes},
          {"finite", statistics.finite},
          {"not_finite", statistics.not_finite},
          {"min", number(statistics.minimum)},
          {"max", number(statistics.maximum)},
          {"mean", number(statistics.mean)},
          {"std", number(statistics.standard_deviation)}};
}

std::string tensor_tree_text(const std::vector<TensorFacts>& tensors) {
  std::string text;
  std::vector<std::string> open;  // the parts whose lines stand above
  for (const TensorFacts& tensor : tensors) {
    const std::vector<std::string> parts = parts_of(tensor.name);
    const auto [ours, theirs] =
        std::mismatch(parts.begin(), parts.end() - 1, open.begin(), open.end());
    open.assign(parts.begin(), ours);
    while (open.size() + 1 < parts.size()) {
      text += std::string(2 * (open.size() + 1), ' ') + parts[open.size()] + "\n";
      open.push_back(parts[open.size()]);
    }
    text += tensor_line(std::string(2 * parts.size(), ' ') + parts.back(), tensor);
  }
  return text;
}

}  // namespace muster::launcher
