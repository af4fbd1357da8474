// The loop around generations, and the one poll loop inside each.
#include "supervisor.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <utility>

#include "announcement.h"
#include "flight/post_mortem.h"
#include "launch_plan.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "process_tree.h"

namespace muster::launcher {
namespace {

constexpr std::chrono::seconds kSweepLimit{5};
/// A reader that takes nothing for so long after the job's end does not get the rest.
constexpr std::chrono::seconds kReaderPatience{60};
constexpr int kTailLines = 5;

// Also the mark by which the guard knows the run's processes: unique on this machine.
std::string make_run_id() {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::strftime(date, sizeof date, "%Y%m%d-%H%M%S", &local);
  return std::string(date) + "-" + std::to_string(getpid());
}

constexpr const char* kProgramDirectory = "MUSTER_PROGRAM_DIR=";

ProgramSpec make_program(const LaunchOptions& options) {
  const char* path = std::getenv("PATH");
  ProgramSpec spec;
  spec.program = find_program(options.program, path == nullptr ? "/usr/bin:/bin" : path);
  spec.arguments = {options.program};
  spec.arguments.insert(spec.arguments.end(), options.arguments.begin(), options.arguments.end());
  for (char** line = environ; *line != nullptr; ++line) {
    if (!std::string_view(*line).starts_with(kProgramDirectory))
      spec.environment.emplace_back(*line);
  }
  // The ranks' way to Muster's other programs.
  std::error_code ignored;
  spec.environment.push_back(
      kProgramDirectory +
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().string());
  return spec;
}

std::string seconds_text(std::chrono::duration<double> duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f s", duration.count());
  return text;
}

}  // namespace

Supervisor::Supervisor(LaunchOptions options)
    : options_(std::move(options)),
      program_(make_program(options_)),
      rules_{options_.max_restarts, options_.elastic},
      stop_(options_.grace),
      run_id_(make_run_id()),
      log_directory_(make_log_directory(options_.log_directory, run_id_)),
      started_(TimePoint::clock::now()),
      guard_(run_id_),
      spared_(own_children()),
      snapshots_(checkpoint::SnapshotMemory::create()),
      console_(STDOUT_FILENO, STDERR_FILENO, options_.quiet),
      run_file_(log_directory_ / "run.json") {
  adopt_orphans();
  history_.world_size = options_.ranks;
  status_.run_id = run_id_;
}

Supervisor::~Supervisor() {
  end_descendants();
  console_.pump();
}

int Supervisor::run() {
  console_.note("logs in " + log_directory_.string());
  try {
    return live();
  } catch (const Error& e) {
    tell_error(e.exit_code());
    throw;
  } catch (const std::exception&) {
    tell_error(ExitCode::kInternalError);
    throw;
  }
}

int Supervisor::live() {
  for (int generation = 0;; ++generation) {
    const Decision decision = live_one_generation(generation);
    if (decision.action == Action::kRestart) {
      history_ = decision.next;
      continue;
    }
    tell_end(decision);
    flush_console();
    return decision.exit_code;
  }
}

Decision Supervisor::live_one_generation(int number) {
  course_ = Course{};
  status_.generation = number;
  status_.world_size = history_.world_size;
  status_.restarts = history_.restarts;
  status_.rank_pids.clear();
  // A message can be there before the constructor has returned: only the number is known to it.
  Generation generation(plan_generation(history_.world_size, number, run_id_, log_directory_),
                        program_, snapshots_->fd(), options_.grace, console_,
                        [this, number](RankProcess& rank, const ControlMessage& message) {
                          on_message(number, rank, message);
                        });
  for (const auto& rank : generation.ranks()) status_.rank_pids.push_back(rank->report().pid);
  set_state(number == 0 ? "running" : "recovering");

  while (!generation.is_over()) turn(generation);
  end_descendants();
  generation.take_all();
  console_.end_progress();

  const std::vector<RankReport> reports = generation.reports();
  const RankReport* cause = root_cause(reports);
  Decision decision = decide(end_of(generation, cause), rules_, history_);
  if (generation.failed_at()) {
    if (!recovering_since_) recovering_since_ = generation.failed_at();
    announce(generation, cause, decision);
  }
  return decision;
}

void Supervisor::turn(Generation& generation) {
  PollSet set;
  set.add(signals_.fd(), POLLIN, [&] { on_signals(generation); });
  generation.watch(set);
  for (const Channel channel : {Channel::kOutput, Channel::kError}) {
    const OutputStream& stream = console_.stream(channel);
    if (stream.pending()) set.add(stream.fd(), POLLOUT, [] {});
  }
  set.wake_at(stop_.deadline());
  set.wait();

  const TimePoint now = TimePoint::clock::now();
  if (stop_.on_time(now) == StopRequest::Step::kKill) {
    console_.error("the grace period of " + seconds_text(options_.grace) +
                   " is over: killing the ranks");
    generation.kill_all(now);
  }
  generation.on_time(now);
  console_.pump();
  tell_dead_output();
}

void Supervisor::on_signals(Generation& generation) {
  for (const int signal : signals_.take()) {
    if (signal == SIGCHLD) {
      reap(generation);
      continue;
    }
    const TimePoint now = TimePoint::clock::now();
    switch (stop_.on_signal(signal, now)) {
      case StopRequest::Step::kNothing:
        break;
      case StopRequest::Step::kAsk:
        console_.note("asked to stop (" + stop_.reason() + "): the ranks have " +
                      seconds_text(options_.grace) + " to save and leave" +
                      (signal == SIGINT ? "; Ctrl-C again kills them" : ""));
        generation.take_all();  // a Hello may be waiting
        generation.ask_to_stop(stop_, options_.grace, /*by_signal=*/!hello_said_);
        set_state("stopping");
        break;
      case StopRequest::Step::kKill:
        console_.error("killing the ranks");
        generation.kill_all(now);
        break;
    }
  }
}

void Supervisor::reap(Generation& generation) {
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    generation.on_exit(pid, status, TimePoint::clock::now());
  }
}

void Supervisor::on_message(int generation, const RankProcess& rank,
                            const ControlMessage& message) {
  if (std::holds_alternative<Hello>(message)) {
    hello_said_ = true;
  } else if (const auto* resumed = std::get_if<Resumed>(&message)) {
    if (rank.report().rank == 0 || !course_.resumed_step) course_.resumed_step = resumed->step;
  } else if (const auto* progress = std::get_if<Progress>(&message)) {
    on_progress(generation, *progress);
  } else if (const auto* checkpoint = std::get_if<CheckpointDone>(&message)) {
    status_.checkpoint_step = checkpoint->step;
    status_.checkpoint_path = checkpoint->path;
    write_status();
  }
}

void Supervisor::on_progress(int generation, const Progress& progress) {
  const TimePoint now = TimePoint::clock::now();
  if (!course_.first) {
    course_.first = progress;
    course_.first_time = now;
  }
  course_.last_step = progress.step;
  status_.step = progress.step;
  status_.total_steps = progress.total_steps;
  tell_recovery(generation, progress.step, now);
  const auto left = time_left(progress, course_.first->step, now - course_.first_time);
  console_.show_progress({progress, history_.world_size, generation, left}, now);
  if (status_.state == "recovering" && !recovering_since_) status_.state = "running";
  write_status();
}

void Supervisor::tell_recovery(int generation, std::int64_t step, TimePoint now) {
  const std::int64_t resumed = course_.resumed_step.value_or(0);
  if (!recovering_since_ || step <= resumed) return;
  console_.note("recovered in " + seconds_text(now - *recovering_since_) + " (generation " +
                std::to_string(generation) + ", world size " + std::to_string(history_.world_size) +
                ", resumed at step " + std::to_string(resumed) + ")");
  recovering_since_.reset();
}

GenerationEnd Supervisor::end_of(const Generation& generation, const RankReport* cause) const {
  GenerationEnd end;
  if (cause != nullptr) {
    end.cause = end_kind(*cause);
    end.exit_code = end_exit_code(*cause);
  }
  for (const RankReport& report : generation.reports()) {
    if (end_kind(report) == EndKind::kCrashed) ++end.crashed_ranks;
  }
  end.stop_requested = stop_.requested();
  end.stop_exit_code = stop_.requested() ? stop_.exit_code(generation.left_by_themselves()) : 0;
  end.resumed_step = course_.resumed_step.value_or(0);
  end.last_step = std::max(course_.last_step, end.resumed_step);
  return end;
}

void Supervisor::announce(const Generation& generation, const RankReport* cause,
                          const Decision& decision) {
  const std::vector<RankReport> reports = generation.reports();
  const LogFile& log = generation.ranks()[static_cast<std::size_t>(cause->rank)]->log();
  // Rank 0's output has been seen already; a Failure says more than the tail of a log.
  const bool show_tail = cause->rank != 0 && !cause->failure;
  console_.error(failure_text(
      {cause, reports, course_.last_step, log.path(), show_tail ? log.tail(kTailLines) : "",
       decision, status_.world_size,
       examine_generation(log.path().parent_path(), run_id_, *cause, *make_system_env())}));
}

void Supervisor::tell_end(const Decision& decision) {
  const bool was_stopped = stop_.requested() && decision.exit_code == stop_.exit_code(true);
  status_.exit_code = decision.exit_code;
  status_.state = decision.exit_code == 0 ? "done"
                  : was_stopped ? (stop_.reason() == "interrupt" ? "interrupted" : "preempted")
                                : "failed";
  std::string text =
      status_.state + " after " + seconds_text(TimePoint::clock::now() - started_) + ": ";
  if (status_.step > 0) text += "step " + std::to_string(status_.step) + ", ";
  text += ranks_text(status_.world_size);
  if (history_.restarts > 0) text += ", restarts: " + std::to_string(history_.restarts);
  if (!status_.checkpoint_path.empty()) text += "; newest checkpoint " + status_.checkpoint_path;
  console_.note(text);
  if (console_.dropped_bytes() > 0) {
    console_.error(std::to_string(console_.dropped_bytes()) +
                   " bytes of rank 0's output are lost: no log file could take them, and whoever "
                   "reads was too slow");
  }
  write_status();
}

void Supervisor::tell_error(ExitCode exit_code) {
  status_.exit_code = static_cast<int>(exit_code);
  set_state("failed");
}

void Supervisor::end_descendants() {
  for (const pid_t pid : kill_descendants(spared_, kSweepLimit)) {
    console_.error("process " + std::to_string(pid) +
                   " does not end when killed; it hangs in the kernel");
  }
}

void Supervisor::set_state(const std::string& state) {
  status_.state = state;
  write_status();
}

void Supervisor::write_status() {
  const bool failed_before = run_file_failed_;
  run_file_failed_ = !run_file_.write(status_);
  if (!run_file_failed_ || failed_before) return;
  console_.error("cannot write " + run_file_.path().string() + ": " + errno_text(errno) +
                 "; the job goes on, and writes it as soon as that can be done");
}

void Supervisor::flush_console() {
  std::int64_t seen_bytes = -1;
  TimePoint give_up{};
  for (console_.pump(); console_.pending(); console_.pump()) {
    if (console_.written_bytes() != seen_bytes) {
      seen_bytes = console_.written_bytes();
      give_up = TimePoint::clock::now() + kReaderPatience;
    }
    if (TimePoint::clock::now() >= give_up) return;
    bool interrupted = false;
    PollSet set;
    set.add(signals_.fd(), POLLIN, [&] {
      for (const int signal : signals_.take()) interrupted |= signal != SIGCHLD;
    });
    for (const Channel channel : {Channel::kOutput, Channel::kError}) {
      const OutputStream& stream = console_.stream(channel);
      if (stream.pending()) set.add(stream.fd(), POLLOUT, [] {});
    }
    set.wake_at(give_up);
    set.wait();
    if (interrupted) return;
  }
}

void Supervisor::tell_dead_output() {
  if (dead_output_told_ || !console_.stream(Channel::kOutput).is_dead()) return;
  dead_output_told_ = true;
  console_.note("nobody reads standard output any more; the job goes on, its output is in " +
                log_directory_.string());
}

}  // namespace muster::launcher
