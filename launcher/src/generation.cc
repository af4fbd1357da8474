// The course of a generation.
#include "generation.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "muster/base/error.h"

namespace muster::launcher {

Generation::Generation(const std::vector<RankPlan>& plan, const ProgramSpec& program,
                       int snapshot_fd, std::chrono::milliseconds leave_grace, Console& console,
                       OnMessage on_message)
    : on_message_(std::move(on_message)),
      leave_grace_(leave_grace),
      memory_(NodeMemory::create(static_cast<int>(plan.size()),
                                 static_cast<std::uint32_t>(plan.front().env.generation))),
      leave_by_(plan.size()) {
  const auto note = [this](RankProcess& rank, const ControlMessage& message) {
    this->on_message(rank, message);
  };
  try {
    for (const RankPlan& one : plan) {
      ranks_.push_back(std::make_unique<RankProcess>(
          one, program, HeldMemory{memory_->fd(), snapshot_fd}, console, note));
    }
    for (const auto& rank : ranks_) rank->confirm_started();
  } catch (...) {
    kill_all(TimePoint::clock::now());
    throw;
  }
}

Generation::~Generation() { kill_all(TimePoint::clock::now()); }

void Generation::watch(PollSet& set) {
  for (const auto& rank : ranks_) rank->watch(set);
  if (failed_at_ && !killed_at_) set.wake_at(*failed_at_ + kSurvivorGrace);
  if (killed_at_) set.wake_at(*killed_at_ + kKillGrace);
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (!ranks_[i]->has_ended()) set.wake_at(leave_by_[i]);
  }
}

void Generation::on_message(RankProcess& rank, const ControlMessage& message) {
  RankReport& report = rank.report();
  const TimePoint now = TimePoint::clock::now();
  if (std::holds_alternative<Hello>(message)) report.said_hello = true;
  if (std::holds_alternative<Done>(message)) {
    report.said_done = true;
    leave_by_[static_cast<std::size_t>(report.rank)] = now + leave_grace_;
  }
  const auto* failure = std::get_if<Failure>(&message);
  if (failure != nullptr && !report.failure) {
    report.failure = *failure;
    rank.log_note(failure->kind + ": " + failure->message);
    on_news(rank, now);
  }
  on_message_(rank, message);
}

void Generation::on_exit(pid_t pid, int wait_status, TimePoint now) {
  for (const auto& rank : ranks_) {
    RankReport& report = rank->report();
    if (report.pid != pid || rank->has_ended()) continue;
    rank->take_all();  // its last words say more than its status
    report.wait_status = wait_status;
    on_news(*rank, now);
    return;
  }
}

void Generation::on_news(RankProcess& rank, TimePoint now) {
  RankReport& report = rank.report();
  if (report.news_time == TimePoint{}) report.news_time = now;
  if (failed_at_ || !is_bad_news(report)) return;
  failed_at_ = now;
  memory_->end_generation();
}

bool Generation::is_bad_news(const RankReport& report) const {
  switch (end_kind(report)) {
    case EndKind::kRunning:
    case EndKind::kDone:
    case EndKind::kStopped:
    case EndKind::kKilled:
      return false;
    default:
      return !ended_by_our_stop(report);
  }
}

// Programs that do not speak the control protocol are told by a signal, and may well die of it.
bool Generation::ended_by_our_stop(const RankReport& report) const {
  return stop_signal_ != 0 && report.wait_status && WIFSIGNALED(*report.wait_status) &&
         WTERMSIG(*report.wait_status) == stop_signal_;
}

void Generation::on_time(TimePoint now) {
  fail_late_leavers(now);
  if (failed_at_ && !killed_at_ && now >= *failed_at_ + kSurvivorGrace) kill_all(now);
  if (!killed_at_ || now < *killed_at_ + kKillGrace) return;
  for (const auto& rank : ranks_) {
    if (rank->has_ended()) continue;
    throw InternalError("rank " + std::to_string(rank->report().rank) + " (process " +
                        std::to_string(rank->report().pid) +
                        "): expected to end when killed, found it still there after " +
                        std::to_string(kKillGrace.count()) +
                        " s; it hangs in the kernel: look at its storage and devices");
  }
}

void Generation::fail_late_leavers(TimePoint now) {
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    RankProcess& rank = *ranks_[i];
    if (!leave_by_[i] || now < *leave_by_[i] || rank.has_ended() || rank.report().failure) continue;
    const auto seconds = std::chrono::duration<double>(leave_grace_).count();
    on_message(rank, Failure{static_cast<int>(ExitCode::kInternalError), "InternalError",
                             "the rank said that it was done, and did not leave within " +
                                 std::to_string(seconds) + " s; look for threads that it waits for",
                             0});
  }
}

void Generation::ask_to_stop(const StopRequest& stop, std::chrono::milliseconds grace,
                             bool by_signal) {
  if (by_signal) stop_signal_ = stop.signal();
  for (const auto& rank : ranks_) {
    if (rank->has_ended()) continue;
    rank->send(Stop{stop.reason(), grace.count()});
    if (by_signal) rank->send_signal(stop_signal_);
  }
}

void Generation::kill_all(TimePoint now) {
  if (!killed_at_) killed_at_ = now;
  for (const auto& rank : ranks_) rank->kill_for_others();
}

bool Generation::is_over() const {
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [](const auto& rank) { return rank->has_ended(); });
}

void Generation::take_all() {
  for (const auto& rank : ranks_) rank->take_all();
}

std::vector<RankReport> Generation::reports() const {
  std::vector<RankReport> reports;
  for (const auto& rank : ranks_) reports.push_back(rank->report());
  return reports;
}

bool Generation::left_by_themselves() const {
  return std::all_of(ranks_.begin(), ranks_.end(), [this](const auto& rank) {
    const EndKind kind = end_kind(rank->report());
    return kind == EndKind::kDone || kind == EndKind::kStopped || ended_by_our_stop(rank->report());
  });
}

}  // namespace muster::launcher
