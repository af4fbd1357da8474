// The messages as JSON, and the socket they travel on.
#include "muster/base/control_messages.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <limits>
#include <vector>

#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster {
namespace {

// A message fits one packet. Only Failure's text can be long, and it is cut (the log file has the
// whole): a byte grows to at most six in JSON (\u0001), so that 8 KiB become 48.
constexpr std::size_t kMaxPacketBytes = 64 * 1024;
constexpr std::size_t kMaxTextBytes = 8 * 1024;
constexpr const char* kOrigin = "control message";

struct Encoder {
  Json operator()(const Hello& m) const { return {{"type", "hello"}, {"pid", m.pid}}; }
  Json operator()(const Resumed& m) const { return {{"type", "resumed"}, {"step", m.step}}; }
  Json operator()(const Progress& m) const {
    return {{"type", "progress"}, {"step", m.step}, {"total_steps", m.total_steps},
            {"epoch", m.epoch},   {"loss", m.loss}, {"samples_per_second", m.samples_per_second}};
  }
  Json operator()(const CheckpointDone& m) const {
    return {{"type", "checkpoint"}, {"step", m.step}, {"path", m.path}};
  }
  Json operator()(const Failure& m) const {
    return {{"type", "failure"},
            {"exit_code", m.exit_code},
            {"kind", m.kind},
            {"message", m.message.substr(0, kMaxTextBytes)},
            {"step", m.step}};
  }
  Json operator()(const Done&) const { return {{"type", "done"}}; }
  Json operator()(const Stop& m) const {
    return {{"type", "stop"}, {"reason", m.reason}, {"grace_ms", m.grace_ms}};
  }
};

// JSON has no NaN or infinity: dump() writes null, and null is read back as NaN.
double number_field(const Json& json, const char* key) {
  if (json.contains(key) && json.at(key).is_null()) return std::numeric_limits<double>::quiet_NaN();
  return json_field<double>(json, key, kOrigin);
}

std::int64_t integer_field(const Json& json, const char* key) {
  return json_field<std::int64_t>(json, key, kOrigin);
}

std::string text_field(const Json& json, const char* key) {
  return json_field<std::string>(json, key, kOrigin);
}

}  // namespace

std::string encode_control_message(const ControlMessage& message) {
  // Texts may hold any bytes (file names, exceptions): invalid UTF-8 is replaced, never thrown on.
  return std::visit(Encoder{}, message).dump(-1, ' ', false, Json::error_handler_t::replace);
}

ControlMessage decode_control_message(const std::string& text) {
  const Json json = parse_json(text, kOrigin);
  const std::string type = text_field(json, "type");
  if (type == "hello") return Hello{integer_field(json, "pid")};
  if (type == "resumed") return Resumed{integer_field(json, "step")};
  if (type == "progress") {
    return Progress{integer_field(json, "step"), integer_field(json, "total_steps"),
                    integer_field(json, "epoch"), number_field(json, "loss"),
                    number_field(json, "samples_per_second")};
  }
  if (type == "checkpoint") {
    return CheckpointDone{integer_field(json, "step"), text_field(json, "path")};
  }
  if (type == "failure") {
    return Failure{json_field<int>(json, "exit_code", kOrigin), text_field(json, "kind"),
                   text_field(json, "message"), integer_field(json, "step")};
  }
  if (type == "done") return Done{};
  if (type == "stop") return Stop{text_field(json, "reason"), integer_field(json, "grace_ms")};
  throw DataError("control message: expected a known type, found '" + type +
                  "'; launcher and program are of different versions of Muster");
}

ControlChannel::ControlChannel(int fd, std::chrono::milliseconds send_timeout)
    : fd_(fd), send_timeout_(send_timeout) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode)) {
    throw ConfigError(
        "control channel: expected descriptor " + std::to_string(fd) +
        " to be a socket; unset MUSTER_CONTROL_FD, or start the program with muster run");
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

ControlChannel::~ControlChannel() { close(fd_); }

std::pair<int, int> ControlChannel::make_pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    throw InternalError("socketpair: " + errno_text(errno));
  }
  return {fds[0], fds[1]};
}

bool ControlChannel::send(const ControlMessage& message) {
  using Clock = std::chrono::steady_clock;
  const std::string text = encode_control_message(message);
  std::lock_guard<std::mutex> lock(send_mutex_);
  const Clock::time_point deadline = Clock::now() + send_timeout_;
  for (;;) {
    if (::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) >= 0) return true;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd wait{fd_, POLLOUT, 0};
    poll(&wait, 1, static_cast<int>(left.count()));
  }
}

std::optional<ControlMessage> ControlChannel::receive() {
  std::vector<char> packet(kMaxPacketBytes);
  ssize_t bytes;
  // A peer that closed with our message unread gives ECONNRESET once; its own last words follow.
  do {
    bytes = recv(fd_, packet.data(), packet.size(), MSG_TRUNC);
  } while (bytes < 0 && (errno == EINTR || errno == ECONNRESET));
  if (bytes > static_cast<ssize_t>(packet.size())) {
    throw DataError("control message: expected at most " + std::to_string(packet.size()) +
                    " bytes, found " + std::to_string(bytes) +
                    "; launcher and program are of different versions of Muster");
  }
  if (bytes > 0) {
    return decode_control_message(std::string(packet.data(), static_cast<std::size_t>(bytes)));
  }
  if (bytes == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) peer_gone_ = true;
  return std::nullopt;
}

}  // namespace muster
