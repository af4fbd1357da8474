// What is known of a rank that has ended, what kind of end that was, and which rank's end explains
// the others. Pure.
#ifndef MUSTER_LAUNCHER_RANK_REPORT_H_
#define MUSTER_LAUNCHER_RANK_REPORT_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "muster/base/control_messages.h"

namespace muster::launcher {

using TimePoint = std::chrono::steady_clock::time_point;

enum class EndKind {
  kRunning,   ///< Not ended.
  kDone,      ///< Did all it was asked.
  kStopped,   ///< Left because it was asked to (79 or 130).
  kError,     ///< Gave up for a reason that will be there again: 1, 64, 65, 70, 74, 76.
  kCrashed,   ///< Killed by a signal, or left with a code that Muster does not know.
  kTimedOut,  ///< Waited in vain for another rank.
  kPeerLost,  ///< Left because another rank was gone: never the cause while there is another.
  kKilled,    ///< By this launcher, for the others' sake.
};

/// One rank's story, as its control channel and the kernel told it.
struct RankReport {
  int rank = 0;
  pid_t pid = 0;
  bool said_hello = false;
  bool said_done = false;
  std::optional<Failure> failure;
  std::optional<int> wait_status;  ///< As waitpid() gave it; nothing while the rank lives.
  bool killed_by_launcher = false;
  /// The first bad news of this rank: its Failure, or its end.
  TimePoint news_time{};
};

EndKind end_kind(const RankReport& report);

/// The code this end stands for: the one announced by Failure, else the process's own; 75 for a
/// crash.
int end_exit_code(const RankReport& report);

/// "was killed by SIGSEGV (segmentation fault)", "failed with DataError", "left with exit code 3"
/// ...
std::string describe_end(const RankReport& report);

/// The report that explains the end of a generation: the earliest error or crash, else the earliest
/// timeout, else the earliest PeerLost, else the earliest stop. Nothing when every rank is done or
/// runs.
const RankReport* root_cause(std::span<const RankReport> reports);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_RANK_REPORT_H_
