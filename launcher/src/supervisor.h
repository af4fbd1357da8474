// `muster run`: starts generations until the job is done, stopped or beyond help.
#ifndef MUSTER_LAUNCHER_SUPERVISOR_H_
#define MUSTER_LAUNCHER_SUPERVISOR_H_

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "console.h"
#include "generation.h"
#include "launch_options.h"
#include "muster/checkpoint/snapshot_memory.h"
#include "process_guard.h"
#include "restart_policy.h"
#include "run_file.h"
#include "signal_source.h"
#include "stop_request.h"

namespace muster::launcher {

/// One run, start to end. One at a time in a process, from its only thread. When run() returns or
/// throws, no process that it started is left.
class Supervisor {
 public:
  /// Finds the program, makes the log directory. Throws ConfigError.
  explicit Supervisor(LaunchOptions options);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Blocks until the job is over; returns the exit code of docs/failure_model.md. Throws
  /// ConfigError when the program cannot be started, InternalError when the system refuses a
  /// process or memory.
  int run();

 private:
  /// The bar's and the recovery's view of the present generation.
  struct Course {
    std::optional<std::int64_t> resumed_step;
    std::optional<Progress> first;
    TimePoint first_time{};
    std::int64_t last_step = 0;
  };

  int live();
  Decision live_one_generation(int number);
  void turn(Generation& generation);
  void on_signals(Generation& generation);
  void reap(Generation& generation);
  void on_message(int generation, const RankProcess& rank, const ControlMessage& message);
  void on_progress(int generation, const Progress& progress);
  void tell_recovery(int generation, std::int64_t step, TimePoint now);
  GenerationEnd end_of(const Generation& generation, const RankReport* cause) const;
  void announce(const Generation& generation, const RankReport* cause, const Decision& decision);
  void tell_end(const Decision& decision);
  void tell_error(ExitCode exit_code);
  void end_descendants();
  void write_status();
  void set_state(const std::string& state);
  void flush_console();
  void tell_dead_output();

  LaunchOptions options_;
  ProgramSpec program_;
  RestartRules rules_;
  RestartHistory history_;
  StopRequest stop_;
  std::string run_id_;
  std::filesystem::path log_directory_;
  TimePoint started_;
  ProcessGuard guard_;
  /// The guard, and what a shell had started before it became this process, such as the reader of
  /// our output in `muster run ... 2> >(tee log)`.
  std::vector<pid_t> spared_;
  SignalSource signals_;
  /// What the ranks of one generation leave to those of the next.
  std::unique_ptr<checkpoint::SnapshotMemory> snapshots_;
  Console console_;
  RunFile run_file_;
  RunStatus status_;
  Course course_;
  /// By any rank, in any generation: the program speaks the control protocol. The signal would end
  /// a rank that starts and has not said Hello yet, and with it what the others may still save.
  bool hello_said_ = false;
  bool run_file_failed_ = false;
  bool dead_output_told_ = false;
  /// When the failure was noticed that the present generation recovers from.
  std::optional<TimePoint> recovering_since_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_SUPERVISOR_H_
