// Socket pairs, and texts with their length before them.
#include "rank_link.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "muster/base/check.h"

namespace muster::testing {
namespace {

void send_all(int line, const void* data, std::size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(line, next, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) throw PeerGone();
    next += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
}

void receive_all(int line, void* data, std::size_t bytes) {
  auto* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = recv(line, next, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw PeerGone();
    next += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

void send_text(int line, const std::string& text) {
  const std::uint64_t bytes = text.size();
  send_all(line, &bytes, sizeof(bytes));
  send_all(line, text.data(), text.size());
}

std::string receive_text(int line) {
  std::uint64_t bytes = 0;
  receive_all(line, &bytes, sizeof(bytes));
  std::string text(bytes, '\0');
  receive_all(line, text.data(), text.size());
  return text;
}

}  // namespace

RankLink RankLink::fork_ranks(int world_size) {
  RankLink root(0, world_size);
  for (int rank = 1; rank < world_size; ++rank) {
    int ends[2];
    MUSTER_CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const pid_t child = fork();
    MUSTER_CHECK_GE(child, 0);
    if (child == 0) {
      for (const int line : root.lines_) close(line);
      root.lines_.clear();
      root.children_.clear();
      close(ends[0]);
      RankLink link(rank, world_size);
      link.lines_.push_back(ends[1]);
      return link;
    }
    close(ends[1]);
    root.lines_.push_back(ends[0]);
    root.children_.push_back(child);
  }
  return root;
}

RankLink::~RankLink() {
  for (const int line : lines_) close(line);
}

std::vector<std::string> RankLink::gather(const std::string& text) {
  if (rank_ != 0) {
    send_text(lines_.front(), text);
    return {};
  }
  std::vector<std::string> texts = {text};
  for (const int line : lines_) texts.push_back(receive_text(line));
  return texts;
}

std::string RankLink::broadcast(const std::string& text) {
  if (rank_ != 0) return receive_text(lines_.front());
  for (const int line : lines_) send_text(line, text);
  return text;
}

int RankLink::join() {
  for (const int line : lines_) close(line);
  lines_.clear();
  int exit_code = 0;
  for (const int child : children_) {
    int status = 0;
    waitpid(child, &status, 0);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (exit_code == 0) exit_code = code;
  }
  return exit_code;
}

}  // namespace muster::testing
