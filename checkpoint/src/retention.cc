// The rule of retention.
#include "muster/checkpoint/retention.h"

#include <algorithm>
#include <string>

#include "muster/base/error.h"

namespace muster::checkpoint {

void Retention::validate() const {
  std::string problems;
  if (keep_last < 1) {
    problems += "keep_last: expected at least 1, found " + std::to_string(keep_last);
  }
  if (keep_every < 0) {
    problems += std::string(problems.empty() ? "" : "; ") +
                "keep_every: expected 0 (off) or more, found " + std::to_string(keep_every);
  }
  if (!problems.empty()) throw ConfigError("checkpoint retention: " + problems);
}

std::vector<std::int64_t> expired_steps(const Retention& retention,
                                        std::span<const std::int64_t> steps) {
  retention.validate();
  std::vector<std::int64_t> expired(steps.begin(), steps.end());
  std::sort(expired.begin(), expired.end());
  expired.erase(std::unique(expired.begin(), expired.end()), expired.end());
  const auto kept = std::min(expired.size(), static_cast<std::size_t>(retention.keep_last));
  expired.resize(expired.size() - kept);
  if (retention.keep_every > 0) {
    std::erase_if(expired, [&](std::int64_t step) { return step % retention.keep_every == 0; });
  }
  if (retention.keep_step) std::erase(expired, *retention.keep_step);
  return expired;
}

}  // namespace muster::checkpoint
