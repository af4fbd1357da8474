// The rules of starting again.
#include "restart_policy.h"

#include <algorithm>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

constexpr int kPeerLostCode = static_cast<int>(ExitCode::kPeerLost);

Decision finish(int exit_code, std::string reason) {
  return {Action::kFinish, exit_code, std::move(reason), {}};
}

bool made_new_step(const GenerationEnd& end, const RestartHistory& history) {
  return end.last_step > end.resumed_step && end.last_step != history.last_end_step;
}

std::string count_text(int restarts, int max_restarts) {
  std::string text = "restart " + std::to_string(restarts);
  if (max_restarts >= 0) text += " of " + std::to_string(max_restarts);
  return text;
}

}  // namespace

Decision decide(const GenerationEnd& end, const RestartRules& rules,
                const RestartHistory& history) {
  if (end.cause == EndKind::kDone) return finish(0, "every rank is done");
  if (end.cause == EndKind::kError) {
    return finish(end.exit_code, "the same would happen again");
  }
  if (end.cause == EndKind::kStopped && !end.stop_requested) {
    return finish(end.exit_code, "the ranks were told to stop, not by this launcher");
  }
  if (end.stop_requested) return finish(end.stop_exit_code, "the job was told to stop");

  RestartHistory next = history;
  const bool was_restart = history.restarts > 0;
  next.restarts_without_step =
      was_restart && !made_new_step(end, history) ? history.restarts_without_step + 1 : 0;
  next.last_end_step = end.last_step;
  if (next.restarts_without_step >= kCrashLoopLimit) {
    return finish(kPeerLostCode, "crash loop: " + std::to_string(kCrashLoopLimit) +
                                     " restarts in a row brought no new step");
  }
  if (rules.max_restarts >= 0 && history.restarts >= rules.max_restarts) {
    return finish(kPeerLostCode, rules.max_restarts == 0
                                     ? "no restarts are allowed (--max-restarts 0)"
                                     : "all " + std::to_string(rules.max_restarts) +
                                           " restarts are used up (--max-restarts)");
  }
  next.restarts = history.restarts + 1;
  if (rules.elastic) {
    next.world_size = std::max(rules.elastic->min, history.world_size - end.crashed_ranks);
  }
  return {Action::kRestart, 0, count_text(next.restarts, rules.max_restarts), next};
}

}  // namespace muster::launcher
