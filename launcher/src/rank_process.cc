// A rank's descriptors and signals.
#include "rank_process.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>
#include <vector>

#include "muster/base/error.h"
#include "process_tree.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// A rank that never stops writing must not keep the loop from the others.
constexpr int kReadsPerTurn = 16;

}  // namespace

RankProcess::RankProcess(const RankPlan& plan, const ProgramSpec& program, const HeldMemory& memory,
                         Console& console, OnMessage on_message)
    : console_(console),
      on_message_(std::move(on_message)),
      log_(std::make_shared<LogFile>(plan.log_path)) {
  const auto [ours, theirs] = ControlChannel::make_pair();
  control_ = std::make_unique<ControlChannel>(ours);
  const FileDescriptor their_end(theirs);
  RankEnv env = plan.env;
  env.control_fd = theirs;
  env.node_memory_fd = memory.node_memory_fd;
  env.snapshot_fd = memory.snapshot_fd;
  // Absolute, since a program may change its directory before it joins.
  env.flight_directory = std::filesystem::absolute(plan.log_path).parent_path();
  spec_ = {program.program,
           program.arguments,
           merge_environment(program.environment, env),
           {theirs, memory.node_memory_fd, memory.snapshot_fd}};
  child_ = start_child(spec_);
  report_.rank = plan.env.rank;
  report_.pid = child_.pid;
}

void RankProcess::confirm_started() { launcher::confirm_started(child_, spec_); }

void RankProcess::watch(PollSet& set) {
  if (control_is_open_) set.add(control_->fd(), POLLIN, [this] { take_messages(); });
  if (child_.standard_output.is_open()) {
    set.add(child_.standard_output.get(), POLLIN,
            [this] { take_output(child_.standard_output, Channel::kOutput); });
  }
  if (child_.standard_error.is_open()) {
    set.add(child_.standard_error.get(), POLLIN,
            [this] { take_output(child_.standard_error, Channel::kError); });
  }
}

void RankProcess::take_all() {
  take_messages();
  take_output(child_.standard_output, Channel::kOutput);
  take_output(child_.standard_error, Channel::kError);
}

void RankProcess::take_messages() {
  while (control_is_open_) {
    try {
      const auto message = control_->receive();
      if (message) {
        on_message_(*this, *message);
        continue;
      }
      if (control_->peer_gone()) control_is_open_ = false;
      return;
    } catch (const DataError& e) {
      control_is_open_ = false;
      console_.error("rank " + std::to_string(report_.rank) +
                     " is not listened to any more: " + e.what());
    }
  }
}

void RankProcess::take_output(FileDescriptor& pipe, Channel channel) {
  std::vector<char> buffer(kReadBytes);
  for (int reads = 0; pipe.is_open() && reads < kReadsPerTurn; ++reads) {
    const ssize_t bytes = read(pipe.get(), buffer.data(), buffer.size());
    if (bytes > 0) {
      store({buffer.data(), static_cast<std::size_t>(bytes)}, channel);
    } else if (bytes == 0 || (errno != EAGAIN && errno != EINTR)) {
      pipe.reset();
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void RankProcess::store(std::string_view bytes, Channel channel) {
  const bool is_mirrored = report_.rank == 0;
  const auto offset = log_->append(bytes);
  if (offset) {
    if (is_mirrored) console_.mirror(channel, log_, *offset, bytes);
    return;
  }
  if (!log_failure_told_) {
    log_failure_told_ = true;
    console_.error("the output of rank " + std::to_string(report_.rank) +
                   " is not kept from here on: cannot write " + log_->path().string() + ": " +
                   log_->error());
  }
  if (is_mirrored) console_.mirror_unlogged(channel, bytes);
}

bool RankProcess::send(const ControlMessage& message) {
  return control_is_open_ && control_->send(message);
}

void RankProcess::send_signal(int signal) {
  // The session's leader leads its process group too. A group that is not made yet, just after the
  // fork, has the pid alone.
  if (kill(-report_.pid, signal) != 0) kill(report_.pid, signal);
}

void RankProcess::kill_for_others() {
  if (has_ended()) return;
  if (!is_exiting(report_.pid)) report_.killed_by_launcher = true;
  send_signal(SIGKILL);
}

void RankProcess::log_note(const std::string& text) { log_->append("muster: " + text + "\n"); }

}  // namespace muster::launcher
