// What the launcher and its ranks say to each other: one JSON object a packet over a SOCK_SEQPACKET
// socket pair.
#ifndef MUSTER_BASE_CONTROL_MESSAGES_H_
#define MUSTER_BASE_CONTROL_MESSAGES_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace muster {

// Rank to launcher.
struct Hello {
  std::int64_t pid = 0;
};
/// Training goes on from `step` (0 for a fresh start): the next Progress above it is a new step.
struct Resumed {
  std::int64_t step = 0;
};
struct Progress {
  std::int64_t step = 0;
  std::int64_t total_steps = 0;  ///< 0 when unknown.
  std::int64_t epoch = 0;
  double loss = 0;
  double samples_per_second = 0;
};
struct CheckpointDone {
  std::int64_t step = 0;
  std::string path;
};
/// The last word of a rank that gives up; `exit_code` is the one it leaves with. `message` travels
/// up to 8 KiB.
struct Failure {
  int exit_code = 0;
  std::string kind;
  std::string message;
  std::int64_t step = 0;
};
/// The rank has done all it was asked; it now leaves with 0.
struct Done {};

// Launcher to rank.
/// Finish the step, write a checkpoint and leave within `grace_ms`.
struct Stop {
  std::string reason;  ///< "interrupt" or "preempt".
  std::int64_t grace_ms = 0;
};

using ControlMessage = std::variant<Hello, Resumed, Progress, CheckpointDone, Failure, Done, Stop>;

/// JSON on one line. A byte that is not UTF-8 becomes U+FFFD; a number that is not finite comes
/// back as NaN.
std::string encode_control_message(const ControlMessage& message);
/// Throws DataError when the text is no message.
ControlMessage decode_control_message(const std::string& text);

/// One end of a control socket. Owns the descriptor (non-blocking, close-on-exec).
/// send() may be called by any thread; receive() by one at a time.
class ControlChannel {
 public:
  /// Throws ConfigError when `fd` is not an open socket.
  explicit ControlChannel(int fd, std::chrono::milliseconds send_timeout = std::chrono::seconds(1));
  ~ControlChannel();
  ControlChannel(const ControlChannel&) = delete;
  ControlChannel& operator=(const ControlChannel&) = delete;

  /// Two connected ends: raw descriptors, close-on-exec set.
  static std::pair<int, int> make_pair();

  /// Blocks while the peer's buffer is full, at most the send timeout. False when the peer is gone
  /// or does not read. Never SIGPIPE.
  bool send(const ControlMessage& message);
  /// The next message, or nothing when none waits or the peer is gone (then peer_gone() is true,
  /// and all it sent has been received). Never blocks. Throws DataError when the packet is no
  /// message; it is then dropped.
  std::optional<ControlMessage> receive();
  bool peer_gone() const { return peer_gone_; }
  int fd() const { return fd_; }

 private:
  int fd_;
  std::chrono::milliseconds send_timeout_;
  bool peer_gone_ = false;
  std::mutex send_mutex_;
};

}  // namespace muster

#endif  // MUSTER_BASE_CONTROL_MESSAGES_H_
