// Names to steps and back.
#include "muster/checkpoint/layout.h"

#include <charconv>
#include <cstdio>

#include "muster/base/check.h"

namespace muster::checkpoint {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::size_t kStepDigits = 8;

template <typename... Args>
std::string format(const char* pattern, Args... args) {
  char text[96];
  std::snprintf(text, sizeof(text), pattern, args...);
  return text;
}

}  // namespace

std::string step_directory_name(std::int64_t step) {
  MUSTER_CHECK_GE(step, 0);
  return format("step-%08lld", static_cast<long long>(step));
}

std::optional<std::int64_t> step_of_directory_name(std::string_view name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kStepPrefix.size());
  if (digits.size() < kStepDigits) return std::nullopt;
  std::int64_t step = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, step);
  if (error != std::errc() || stop != end || step < 0) return std::nullopt;
  // One name a step: "step-0000000007" is not ours.
  if (step_directory_name(step) != name) return std::nullopt;
  return step;
}

std::string attempt_directory_name(std::int64_t step, int generation) {
  MUSTER_CHECK_GE(generation, 0);
  return ".attempt-" + step_directory_name(step) + "-g" + std::to_string(generation);
}

std::string shard_file_name(int rank, int world_size) {
  MUSTER_CHECK_GE(rank, 0);
  MUSTER_CHECK_LT(rank, world_size);
  return format("rank-%05d-of-%05d.h5", rank, world_size);
}

}  // namespace muster::checkpoint
