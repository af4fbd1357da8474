// Wording.
#include "flight/flight_words.h"

#include <cstdio>

namespace muster::launcher {

std::string rank_list(const std::vector<int>& ranks) {
  std::string text;
  for (std::size_t first = 0; first < ranks.size();) {
    std::size_t last = first;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (last < first + 2) last = first;  // two are no run
    text += (text.empty() ? "" : ", ") + std::to_string(ranks[first]);
    if (last > first) text += "-" + std::to_string(ranks[last]);
    first = last + 1;
  }
  return text;
}

std::string named_ranks(const std::vector<int>& ranks) {
  return (ranks.size() == 1 ? "rank " : "ranks ") + rank_list(ranks);
}

std::string duration_text(std::int64_t nanoseconds) {
  const double ns = static_cast<double>(nanoseconds);
  char text[32];
  if (ns >= 1e9) {
    std::snprintf(text, sizeof text, "%.1f s", ns / 1e9);
  } else if (ns >= 1e6) {
    std::snprintf(text, sizeof text, "%.1f ms", ns / 1e6);
  } else {
    std::snprintf(text, sizeof text, "%.1f us", ns / 1e3);
  }
  return text;
}

}  // namespace muster::launcher
