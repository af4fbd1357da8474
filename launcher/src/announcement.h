// The one message about a failure, in words. Pure.
#ifndef MUSTER_LAUNCHER_ANNOUNCEMENT_H_
#define MUSTER_LAUNCHER_ANNOUNCEMENT_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "flight/post_mortem.h"
#include "rank_report.h"
#include "restart_policy.h"

namespace muster::launcher {

/// What is known when a generation has failed.
struct FailureFacts {
  const RankReport* cause = nullptr;
  std::span<const RankReport> reports;
  std::int64_t step = 0;  ///< The last that is known.
  std::filesystem::path log_path;
  std::string log_tail;  ///< Shown where the rank left no message; "" when its output was on the
                         ///< terminal anyway.
  Decision decision;
  int world_size = 1;
  PostMortem post_mortem;
};

/// Which rank, what happened, its message, step, log file, what ranks waited for, and what is done
/// next. Several lines, no newline at the end.
std::string failure_text(const FailureFacts& facts);

/// "1 rank", "3 ranks".
std::string ranks_text(int count);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_ANNOUNCEMENT_H_
