// Work that every rank does alike and that may fail on any: all learn of a failure, and one speaks
// of it.
#ifndef MUSTER_TRAINER_SRC_RUN_TOGETHER_H_
#define MUSTER_TRAINER_SRC_RUN_TOGETHER_H_

#include <chrono>
#include <functional>

#include "muster/base/error.h"
#include "muster/collectives/communicator.h"

namespace muster::internal {

/// Thrown where another rank speaks of the failure; carries that rank's exit code.
class FailedElsewhere : public Error {
 public:
  FailedElsewhere(ExitCode exit_code, const std::string& message)
      : Error(exit_code, "FailedElsewhere", message) {}
};

/// Collective. Runs `work`, which calls no collective. The lowest rank on which it threw rethrows;
/// all others throw FailedElsewhere.
void run_together(Communicator& communicator, const std::function<void()>& work);

/// Runs `work`, whose errors of configuration and of user code every rank meets alike: rank 0
/// rethrows, all others throw FailedElsewhere. Other errors come through.
void run_alike(const Communicator& communicator, const std::function<void()>& work);

/// How often the others hear of rank 0 while they wait for it: far shorter than any deadline.
inline constexpr std::chrono::milliseconds kRank0Sign{100};

/// Collective. Blocks until `ended`, called again and again on rank 0 alone, returns true; it
/// should block for kRank0Sign itself. The others hear each time that rank 0 is at work, so
/// that no deadline is passed however long it takes.
void wait_for_rank_0(Communicator& communicator, const std::function<bool()>& ended);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_RUN_TOGETHER_H_
