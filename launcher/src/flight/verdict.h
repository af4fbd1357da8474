// In which operation does a job hang, or did it die, and who was missing? Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_VERDICT_H_
#define MUSTER_LAUNCHER_FLIGHT_VERDICT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "flight/evidence.h"

namespace muster::launcher {

/// A job whose ranks wait no longer than this in an operation runs.
inline constexpr std::int64_t kPatienceNs = 1'000'000'000;

enum class JobState {
  kEndedInOrder,
  kRuns,
  kHangs,
  kDied,     ///< By a rank's death, by an error, or by giving up a wait.
  kUnknown,  ///< Its processes cannot be looked at from here, and the records do not say.
};

/// "ended in order", "runs", "hangs", "died", "unknown".
const char* job_state_name(JobState state);

/// An operation that some rank waits in, or gave up, and why it does not end.
struct Finding {
  std::string communicator;  ///< "world", or the name given to it.
  std::uint64_t sequence = 0;
  std::string operation;          ///< As most of its ranks called it.
  std::vector<int> waiting;       ///< In it, and alive as far as is known.
  std::vector<int> failed;        ///< Came to it and left by an error.
  std::vector<int> ended_inside;  ///< Their process ended, or stands still, in it.
  std::vector<int> absent;        ///< Never came to it.
  std::vector<int> disagreeing;   ///< Called something else.
  std::int64_t waited_ns = 0;     ///< The longest of them.
  std::string sentence;
};

struct Verdict {
  JobState state = JobState::kRuns;
  std::string sentence;  ///< Which operation, who waits, who is missing and did what last.
  /// The cause first: the one whose missing ranks do not wait themselves. Each communicator has one
  /// at most, and each wait for a single other rank.
  std::vector<Finding> findings;
};

/// Ranks in sentences are those of the world.
Verdict judge(const FlightEvidence& evidence);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_VERDICT_H_
