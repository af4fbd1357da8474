// Learning-rate curves.
#include "muster/trainer/schedule.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "muster/base/error.h"

namespace muster {
namespace {

constexpr double kPi = 3.14159265358979323846;

constexpr std::array<std::pair<std::string_view, ScheduleKind>, 7> kNames = {{
    {"constant", ScheduleKind::kConstant},
    {"linear", ScheduleKind::kLinear},
    {"cosine", ScheduleKind::kCosine},
    {"polynomial", ScheduleKind::kPolynomial},
    {"step", ScheduleKind::kStep},
    {"exponential", ScheduleKind::kExponential},
    {"one-cycle", ScheduleKind::kOneCycle},
}};

/// Half a cosine from `start` to `end`.
double anneal(double start, double end, double progress) {
  return end + (start - end) / 2.0 * (1.0 + std::cos(kPi * progress));
}

/// The two phases meet at step pct_start * T - 1 and end at T - 1, fractions of steps included.
double one_cycle(const Schedule& s, double t, double length) {
  const double initial = 1.0 / s.div_factor;
  const double peak = s.pct_start * length - 1.0;
  const double last = length - 1.0;
  if (t <= peak && peak > 0) return anneal(initial, 1.0, t / peak);
  const double progress = last > peak ? std::min(1.0, (t - peak) / (last - peak)) : 1.0;
  return anneal(1.0, initial / s.final_div_factor, progress);
}

/// The curve's fraction of the base rate at step `at` of `steps`.
double curve(const Schedule& s, ScheduleKind kind, std::int64_t at, std::int64_t steps) {
  const auto length = static_cast<double>(std::max<std::int64_t>(1, steps));
  const auto t = static_cast<double>(at);
  const double progress = std::min(1.0, t / length);
  switch (kind) {
    case ScheduleKind::kConstant:
      return 1.0;
    case ScheduleKind::kLinear:
      return s.min_factor + (1.0 - s.min_factor) * (1.0 - progress);
    case ScheduleKind::kCosine:
      return s.min_factor + (1.0 - s.min_factor) * 0.5 * (1.0 + std::cos(kPi * progress));
    case ScheduleKind::kPolynomial:
      return s.min_factor + (1.0 - s.min_factor) * std::pow(1.0 - progress, s.power);
    case ScheduleKind::kStep:
      if (s.step_size < 1) throw ConfigError("schedule: expected a step size of 1 or more");
      return std::pow(s.gamma, static_cast<double>(at / s.step_size));
    case ScheduleKind::kExponential:
      return std::pow(s.gamma, t);
    case ScheduleKind::kOneCycle:
      return one_cycle(s, t, length);
  }
  throw InternalError("schedule: unknown kind");
}

std::string all_names() {
  std::string names;
  for (const auto& [name, kind] : kNames) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

[[noreturn]] void refuse(const std::string& expected, const std::string& found) {
  throw ConfigError("--schedule: expected " + expected + ", found '" + found +
                    "'; write one name, or a chain such as constant:800,linear");
}

ScheduleKind kind_of(const std::string& name) {
  for (const auto& [known, kind] : kNames) {
    if (known == name) return kind;
  }
  refuse("one of " + all_names(), name);
}

SchedulePiece parse_piece(const std::string& text, bool last) {
  const std::size_t colon = text.find(':');
  SchedulePiece piece{kind_of(text.substr(0, colon)), 0};
  if (last) {
    if (colon != std::string::npos) refuse("no number of steps at the last piece", text);
    return piece;
  }
  if (colon == std::string::npos) refuse("a number of steps behind every piece but the last", text);
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + colon + 1, end, piece.steps);
  if (error != std::errc() || stopped != end || piece.steps < 1) refuse("1 step or more", text);
  return piece;
}

}  // namespace

double Schedule::rate(std::int64_t step) const {
  if (step < warmup_steps) {
    return base_rate * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  std::int64_t begin = warmup_steps;
  for (const SchedulePiece& piece : before) {
    if (step - begin < piece.steps)
      return base_rate * curve(*this, piece.kind, step - begin, piece.steps);
    begin += piece.steps;
  }
  return base_rate * curve(*this, kind, step - begin, total_steps - begin);
}

bool Schedule::endless() const {
  return kind == ScheduleKind::kConstant || kind == ScheduleKind::kStep ||
         kind == ScheduleKind::kExponential;
}

std::vector<std::string> Schedule::validate() const {
  std::vector<std::string> problems;
  const auto require = [&](bool good, const char* flag, const char* expected, auto found) {
    if (!good)
      problems.push_back(std::string(flag) + ": expected " + expected + ", found " +
                         std::to_string(found));
  };
  require(base_rate >= 0 && std::isfinite(base_rate), "--learning-rate", "0 or more", base_rate);
  require(warmup_steps >= 0, "--warmup-steps", "0 or more", warmup_steps);
  const ScheduleKind first = before.empty() ? kind : before.front().kind;
  require(first != ScheduleKind::kOneCycle || warmup_steps == 0, "--warmup-steps",
          "0 before one-cycle, which rises by itself (--pct-start)", warmup_steps);
  require(min_factor >= 0 && min_factor <= 1, "--min-learning-rate-factor", "0 to 1", min_factor);
  require(power >= 0 && std::isfinite(power), "--schedule-power", "0 or more", power);
  require(step_size >= 1, "--step-size", "1 or more", step_size);
  require(gamma > 0 && gamma <= 1, "--gamma", "above 0, at most 1", gamma);
  require(pct_start >= 0 && pct_start <= 1, "--pct-start", "0 to 1", pct_start);
  require(div_factor >= 1 && std::isfinite(div_factor), "--div-factor", "1 or more", div_factor);
  require(final_div_factor >= 1 && std::isfinite(final_div_factor), "--final-div-factor",
          "1 or more", final_div_factor);
  return problems;
}

void parse_schedule(const std::string& text, Schedule& schedule) {
  schedule.before.clear();
  std::size_t at = 0;
  for (std::size_t comma; (comma = text.find(',', at)) != std::string::npos; at = comma + 1) {
    schedule.before.push_back(parse_piece(text.substr(at, comma - at), /*last=*/false));
  }
  schedule.kind = parse_piece(text.substr(at), /*last=*/true).kind;
}

}  // namespace muster
