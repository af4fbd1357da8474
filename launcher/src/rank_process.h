// One rank as its launcher holds it: the process, its control channel, its output and its story.
#ifndef MUSTER_LAUNCHER_RANK_PROCESS_H_
#define MUSTER_LAUNCHER_RANK_PROCESS_H_

#include <functional>
#include <memory>
#include <optional>

#include "child.h"
#include "console.h"
#include "launch_plan.h"
#include "log_files.h"
#include "muster/base/control_messages.h"
#include "poll_set.h"
#include "rank_report.h"

namespace muster::launcher {

/// The program that every rank runs.
struct ProgramSpec {
  std::filesystem::path program;
  std::vector<std::string> arguments;    ///< argv, argv[0] included.
  std::vector<std::string> environment;  ///< The launcher's own.
};

/// Descriptors of memory that the launcher holds and its ranks inherit.
struct HeldMemory {
  int node_memory_fd = -1;
  int snapshot_fd = -1;
};

/// Not movable: handlers point at it.
class RankProcess {
 public:
  using OnMessage = std::function<void(RankProcess&, const ControlMessage&)>;

  /// Opens the log and forks. `console` gets the output of rank 0. Throws ConfigError or
  /// InternalError.
  RankProcess(const RankPlan& plan, const ProgramSpec& program, const HeldMemory& memory,
              Console& console, OnMessage on_message);
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  /// Blocks until the program runs. Throws ConfigError when it cannot.
  void confirm_started();

  RankReport& report() { return report_; }
  const RankReport& report() const { return report_; }
  const LogFile& log() const { return *log_; }
  bool has_ended() const { return report_.wait_status.has_value(); }

  /// Adds the control channel and the pipes.
  void watch(PollSet& set);
  /// Takes what has been said and written so far. Never blocks.
  void take_all();
  /// False when the rank does not listen.
  bool send(const ControlMessage& message);
  /// The rank and the processes of its session.
  void send_signal(int signal);
  /// SIGKILL for the others' sake; a rank that is dying already keeps its own cause.
  void kill_for_others();
  /// Adds a line of ours to the log: for words that the rank left to the launcher.
  void log_note(const std::string& text);

 private:
  void take_messages();
  void take_output(FileDescriptor& pipe, Channel channel);
  void store(std::string_view bytes, Channel channel);

  ChildSpec spec_;
  Console& console_;
  OnMessage on_message_;
  std::shared_ptr<LogFile> log_;
  std::unique_ptr<ControlChannel> control_;
  bool control_is_open_ = true;
  bool log_failure_told_ = false;
  Child child_;
  RankReport report_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_RANK_PROCESS_H_
