// Writing without waiting.
#include "output_stream.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace muster::launcher {
namespace {

constexpr std::size_t kChunkBytes = 64 * 1024;

bool takes_bytes_now(int fd) {
  pollfd wait{fd, POLLOUT, 0};
  return poll(&wait, 1, 0) > 0;
}

}  // namespace

OutputStream::OutputStream(int fd) : fd_(fd), is_terminal_(isatty(fd) == 1) {
  struct stat info {};
  if (fstat(fd, &info) != 0) {
    dead_ = true;
    return;
  }
  is_socket_ = S_ISSOCK(info.st_mode);
  if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode)) return;  // files do not make one wait
  // O_NONBLOCK belongs to the open description, which a shell may share: open one of our own.
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  private_description_.reset(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (private_description_.is_open()) {
    fd_ = private_description_.get();
  } else {
    may_block_ = true;  // another user's terminal: then small pieces, and only when it says that it
                        // takes them
  }
}

void OutputStream::add_text(std::string text) {
  if (dead_ || text.empty()) return;
  at_line_start_ = text.back() == '\n';
  queue_.emplace_back(std::move(text));
}

void OutputStream::add_log(std::shared_ptr<const LogFile> log, std::int64_t offset_bytes,
                           std::int64_t bytes, bool ends_line) {
  if (dead_ || bytes == 0) return;
  at_line_start_ = ends_line;
  if (!queue_.empty()) {
    auto* last = std::get_if<LogRange>(&queue_.back());
    if (last != nullptr && last->log == log && last->offset_bytes + last->bytes == offset_bytes) {
      last->bytes += bytes;
      return;
    }
  }
  queue_.emplace_back(LogRange{std::move(log), offset_bytes, bytes});
}

void OutputStream::pump() {
  while (!queue_.empty()) {
    const std::string chunk = next_chunk();
    if (chunk.empty()) {  // the log was cut short behind our back
      queue_.pop_front();
      continue;
    }
    const long written = write_some(chunk);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (written < 0) {
      dead_ = true;
      queue_.clear();
      return;
    }
    consume(static_cast<std::size_t>(written));
  }
}

std::string OutputStream::next_chunk() const {
  const std::size_t limit = may_block_ ? PIPE_BUF / 8 : kChunkBytes;
  if (const auto* text = std::get_if<std::string>(&queue_.front())) return text->substr(0, limit);
  const auto& range = std::get<LogRange>(queue_.front());
  return range.log->read_at(range.offset_bytes,
                            std::min(limit, static_cast<std::size_t>(range.bytes)));
}

void OutputStream::consume(std::size_t bytes) {
  written_bytes_ += static_cast<std::int64_t>(bytes);
  if (auto* text = std::get_if<std::string>(&queue_.front())) {
    text->erase(0, bytes);
    if (text->empty()) queue_.pop_front();
    return;
  }
  auto& range = std::get<LogRange>(queue_.front());
  range.offset_bytes += static_cast<std::int64_t>(bytes);
  range.bytes -= static_cast<std::int64_t>(bytes);
  if (range.bytes == 0) queue_.pop_front();
}

long OutputStream::write_some(std::string_view bytes) {
  if (is_socket_) return send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (may_block_ && !takes_bytes_now(fd_)) {
    errno = EAGAIN;
    return -1;
  }
  return write(fd_, bytes.data(), bytes.size());
}

}  // namespace muster::launcher
