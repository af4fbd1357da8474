// Start again, or stop? A pure function of how a generation ended, the options and what came
// before.
#ifndef MUSTER_LAUNCHER_RESTART_POLICY_H_
#define MUSTER_LAUNCHER_RESTART_POLICY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "launch_options.h"
#include "rank_report.h"

namespace muster::launcher {

/// As many restarts in a row without a new step end the job, whatever --max-restarts allows.
inline constexpr int kCrashLoopLimit = 3;

struct RestartRules {
  int max_restarts = 3;  ///< -1: no limit.
  std::optional<ElasticRange> elastic;
};

/// What the policy remembers between generations.
struct RestartHistory {
  int world_size = 1;
  int restarts = 0;
  int restarts_without_step = 0;              ///< In a row.
  std::optional<std::int64_t> last_end_step;  ///< Where the generation before ended.
};

/// How a generation ended.
struct GenerationEnd {
  EndKind cause = EndKind::kDone;
  int exit_code = 0;            ///< The cause's.
  int crashed_ranks = 0;        ///< Died of themselves, not with the others.
  bool stop_requested = false;  ///< By Ctrl-C or SIGTERM, before the end.
  int stop_exit_code = 130;     ///< What a stop by that request is worth.
  std::int64_t resumed_step = 0;
  std::int64_t last_step = 0;
};

enum class Action { kFinish, kRestart };

struct Decision {
  Action action = Action::kFinish;
  int exit_code = 0;    ///< Of the whole run, with kFinish.
  std::string reason;   ///< For people: why, in a few words.
  RestartHistory next;  ///< With kRestart: world size and counts of the next generation.
};

/// Only crashes, timeouts and lost peers are worth another try (docs/failure_model.md says why). A
/// generation that got no further than where it resumed, or ended at the very step of the one
/// before, made no new step.
Decision decide(const GenerationEnd& end, const RestartRules& rules, const RestartHistory& history);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_RESTART_POLICY_H_
