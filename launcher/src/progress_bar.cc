// Progress as text.
#include "progress_bar.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace muster::launcher {
namespace {

constexpr int kMinBarColumns = 10;
constexpr int kMaxBarColumns = 30;

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char buffer[96];
  std::snprintf(buffer, sizeof buffer, pattern, values...);
  return buffer;
}

double fraction_done(const Progress& progress) {
  return std::clamp(static_cast<double>(progress.step) / static_cast<double>(progress.total_steps),
                    0.0, 1.0);
}

// The facts in the order of their worth.
std::vector<std::string> facts(const ProgressView& view) {
  const Progress& p = view.progress;
  std::vector<std::string> words;
  words.push_back("step " + std::to_string(p.step) +
                  (p.total_steps > 0 ? "/" + std::to_string(p.total_steps) : ""));
  words.push_back(format("loss %.4g", p.loss));
  if (p.samples_per_second > 0) words.push_back(rate_text(p.samples_per_second) + " samples/s");
  if (view.time_left) words.push_back("ETA " + duration_text(*view.time_left));
  words.push_back(std::to_string(view.world_size) + (view.world_size == 1 ? " rank" : " ranks"));
  words.push_back("gen " + std::to_string(view.generation));
  return words;
}

}  // namespace

std::string duration_text(std::chrono::seconds duration) {
  const long long seconds = std::max<long long>(0, duration.count());
  if (seconds >= 3600) {
    return format("%lld:%02lld:%02lld", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return format("%lld:%02lld", seconds / 60, seconds % 60);
}

std::string rate_text(double per_second) {
  if (per_second >= 999.5e3) return format("%.1fM", per_second / 1e6);
  if (per_second >= 999.5) return format("%.1fk", per_second / 1e3);
  return per_second >= 10 ? format("%.0f", per_second) : format("%.1f", per_second);
}

std::optional<std::chrono::seconds> time_left(const Progress& progress, std::int64_t first_step,
                                              std::chrono::duration<double> elapsed) {
  if (progress.step >= progress.total_steps || progress.step <= first_step) return std::nullopt;
  const double per_step = elapsed.count() / static_cast<double>(progress.step - first_step);
  const double left = per_step * static_cast<double>(progress.total_steps - progress.step);
  return std::chrono::seconds(std::llround(std::min(left, 1e9)));
}

std::string progress_line(const ProgressView& view) {
  std::string line;
  for (const std::string& fact : facts(view)) line += (line.empty() ? "" : "  ") + fact;
  return line;
}

std::string progress_bar(const ProgressView& view, int columns) {
  const int room = columns - 1;  // a full last column makes some terminals wrap
  std::string text;
  for (const std::string& fact : facts(view)) {
    if (static_cast<int>(text.size() + 2 + fact.size()) > room) break;
    text += (text.empty() ? "" : "  ") + fact;
  }
  constexpr int kFrame = 10;  // "[" + "]" + " 100%" + the gap
  const int bar_columns = std::min(kMaxBarColumns, room - static_cast<int>(text.size()) - kFrame);
  if (view.progress.total_steps <= 0 || bar_columns < kMinBarColumns) return text;
  const double done = fraction_done(view.progress);
  const auto filled = static_cast<std::size_t>(std::floor(done * bar_columns));
  return "[" + std::string(filled, '#') +
         std::string(static_cast<std::size_t>(bar_columns) - filled, '-') + "]" +
         format(" %3d%%  ", static_cast<int>(done * 100)) + text;
}

}  // namespace muster::launcher
