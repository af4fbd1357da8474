// Reading the ends of ranks.
#include "rank_report.h"

#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <string_view>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

constexpr int code(ExitCode exit_code) { return static_cast<int>(exit_code); }

// 75 alone does not say which of its two errors it was; only a Failure message does.
EndKind kind_of_code(int exit_code, std::string_view failure_kind) {
  switch (static_cast<ExitCode>(exit_code)) {
    case ExitCode::kUserError:
    case ExitCode::kConfigError:
    case ExitCode::kDataError:
    case ExitCode::kInternalError:
    case ExitCode::kCheckpointError:
    case ExitCode::kMismatch:
      return EndKind::kError;
    case ExitCode::kPeerLost:
      return failure_kind == "Timeout" ? EndKind::kTimedOut : EndKind::kPeerLost;
    case ExitCode::kPreempted:
    case ExitCode::kInterrupted:
      return EndKind::kStopped;
    default:
      return EndKind::kCrashed;
  }
}

bool left_without_done(const RankReport& report) {
  return WIFEXITED(*report.wait_status) && WEXITSTATUS(*report.wait_status) == 0 &&
         report.said_hello && !report.said_done;
}

// Another signal was faster than ours.
bool was_killed_by_launcher(const RankReport& report) {
  return report.killed_by_launcher && WTERMSIG(*report.wait_status) == SIGKILL;
}

std::string signal_text(int signal) {
  const char* name = sigabbrev_np(signal);
  const char* meaning = sigdescr_np(signal);
  std::string text =
      name == nullptr ? "signal " + std::to_string(signal) : "SIG" + std::string(name);
  if (meaning != nullptr) text += std::string(" (") + meaning + ")";
  return text;
}

// Smaller explains more.
int explanation_order(EndKind kind) {
  switch (kind) {
    case EndKind::kError:
    case EndKind::kCrashed:
      return 0;
    case EndKind::kTimedOut:
      return 1;
    case EndKind::kPeerLost:
      return 2;
    case EndKind::kStopped:
      return 3;
    case EndKind::kKilled:
      return 4;
    default:
      return 5;
  }
}

}  // namespace

EndKind end_kind(const RankReport& report) {
  // A rank's own word counts more than how its process then came to its end.
  if (report.failure) return kind_of_code(report.failure->exit_code, report.failure->kind);
  if (!report.wait_status) return EndKind::kRunning;
  const int status = *report.wait_status;
  if (WIFSIGNALED(status)) {
    return was_killed_by_launcher(report) ? EndKind::kKilled : EndKind::kCrashed;
  }
  if (left_without_done(report)) return EndKind::kError;
  if (WEXITSTATUS(status) == 0) return EndKind::kDone;
  return kind_of_code(WEXITSTATUS(status), "");
}

int end_exit_code(const RankReport& report) {
  switch (end_kind(report)) {
    case EndKind::kDone:
    case EndKind::kRunning:
      return code(ExitCode::kSuccess);
    case EndKind::kError:
    case EndKind::kStopped:
      if (report.failure) return report.failure->exit_code;
      if (left_without_done(report)) return code(ExitCode::kUserError);
      return WEXITSTATUS(*report.wait_status);
    default:
      return code(ExitCode::kPeerLost);
  }
}

std::string describe_end(const RankReport& report) {
  if (report.failure) return "failed with " + report.failure->kind;
  if (!report.wait_status) return "runs";
  const int status = *report.wait_status;
  if (WIFSIGNALED(status)) {
    return (was_killed_by_launcher(report) ? "was killed by the launcher with "
                                           : "was killed by ") +
           signal_text(WTERMSIG(status));
  }
  if (left_without_done(report)) {
    return "left with exit code 0 before its work was done (does the program call exit()?)";
  }
  return "left with exit code " + std::to_string(WEXITSTATUS(status));
}

const RankReport* root_cause(std::span<const RankReport> reports) {
  const RankReport* cause = nullptr;
  for (const RankReport& report : reports) {
    const int order = explanation_order(end_kind(report));
    if (order == explanation_order(EndKind::kDone)) continue;
    const int best = cause == nullptr ? order + 1 : explanation_order(end_kind(*cause));
    if (order < best || (order == best && report.news_time < cause->news_time)) cause = &report;
  }
  return cause;
}

}  // namespace muster::launcher
