// One life of the world: its ranks from start to the last one's end, and its memory.
#ifndef MUSTER_LAUNCHER_GENERATION_H_
#define MUSTER_LAUNCHER_GENERATION_H_

#include <memory>
#include <optional>
#include <vector>

#include "console.h"
#include "launch_plan.h"
#include "muster/base/node_memory.h"
#include "poll_set.h"
#include "rank_process.h"
#include "restart_policy.h"
#include "stop_request.h"

namespace muster::launcher {

/// How long survivors of a death may take to notice it and leave before they are killed.
inline constexpr std::chrono::milliseconds kSurvivorGrace{200};
/// How long a killed process may take to vanish.
inline constexpr std::chrono::seconds kKillGrace{10};

class Generation {
 public:
  /// What a rank says, after the generation itself has noted it.
  using OnMessage = RankProcess::OnMessage;

  /// Starts the ranks of `plan` (at least one) and returns when all of them run. Throws ConfigError
  /// when the program cannot be started; nothing of it runs then. `leave_grace` is what a rank has
  /// to leave in after its Done. `snapshot_fd` is of the memory that outlives the generation.
  Generation(const std::vector<RankPlan>& plan, const ProgramSpec& program, int snapshot_fd,
             std::chrono::milliseconds leave_grace, Console& console, OnMessage on_message);
  /// Kills what still runs.
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  void watch(PollSet& set);
  /// A process was reaped; nothing happens when it is no rank.
  void on_exit(pid_t pid, int wait_status, TimePoint now);
  /// Does what is due. Throws InternalError when a killed rank does not vanish.
  void on_time(TimePoint now);
  /// Asks each rank that runs; by the signal, too, where the program may not know the message.
  void ask_to_stop(const StopRequest& stop, std::chrono::milliseconds grace, bool by_signal);
  /// SIGKILL to all that run.
  void kill_all(TimePoint now);

  /// Every rank has ended.
  bool is_over() const;
  /// Takes what the ranks have said and written so far.
  void take_all();

  const std::vector<std::unique_ptr<RankProcess>>& ranks() const { return ranks_; }
  std::vector<RankReport> reports() const;
  /// When the first bad news came.
  std::optional<TimePoint> failed_at() const { return failed_at_; }
  /// Every rank left of itself, done or as it was asked to.
  bool left_by_themselves() const;

 private:
  void on_message(RankProcess& rank, const ControlMessage& message);
  void on_news(RankProcess& rank, TimePoint now);
  bool is_bad_news(const RankReport& report) const;
  bool ended_by_our_stop(const RankReport& report) const;
  void fail_late_leavers(TimePoint now);

  OnMessage on_message_;
  std::chrono::milliseconds leave_grace_;
  std::unique_ptr<NodeMemory> memory_;
  std::vector<std::unique_ptr<RankProcess>> ranks_;
  std::vector<std::optional<TimePoint>> leave_by_;  ///< By rank; set by Done.
  std::optional<TimePoint> failed_at_;
  std::optional<TimePoint> killed_at_;
  int stop_signal_ = 0;  ///< That the ranks were sent; 0: none.
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_GENERATION_H_
