// SCM_RIGHTS over an abstract unix socket.
#include "node_memory_handoff.h"

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "deadline.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

[[noreturn]] void throw_system_error(const char* call) {
  throw InternalError(std::string("node memory handoff: ") + call +
                      " failed: " + errno_text(errno));
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

socklen_t abstract_address(const std::string& name, sockaddr_un& address) {
  std::memset(&address, 0, sizeof(address));
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading zero byte: abstract
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

std::string unguessable_name() {
  std::uint64_t words[2];
  if (getrandom(words, sizeof(words), 0) != sizeof(words)) throw_system_error("getrandom");
  return "muster-" + std::to_string(words[0]) + "-" + std::to_string(words[1]);
}

// poll() counts milliseconds in int.
constexpr std::chrono::milliseconds kLongestPoll = std::chrono::hours(1);

// False when the time is over.
bool wait_readable(int fd, std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() < 0) return false;
    pollfd waited{fd, POLLIN, 0};
    const auto look = std::min(left, kLongestPoll);
    const int ready = poll(&waited, 1, static_cast<int>(look.count()) + 1);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) throw_system_error("poll");
  }
}

bool same_user(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

// A one-byte message with room for one descriptor beside it.
struct DescriptorMessage {
  DescriptorMessage() {
    vector.iov_base = &payload;
    vector.iov_len = 1;
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
  }

  char payload = 'm';
  iovec vector{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
};

void send_descriptor(int socket, int fd) {
  DescriptorMessage message;
  cmsghdr* control = CMSG_FIRSTHDR(&message.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(control), &fd, sizeof(fd));
  if (sendmsg(socket, &message.header, MSG_NOSIGNAL) != 1) throw_system_error("sendmsg");
}

}  // namespace

DescriptorServer::DescriptorServer() : name_(unguessable_name()) {
  sockaddr_un address;
  const socklen_t size = abstract_address(name_, address);
  socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_ < 0) throw_system_error("socket");
  if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      listen(socket_, SOMAXCONN) != 0) {
    const int error = errno;
    close(socket_);
    errno = error;
    throw_system_error("bind or listen");
  }
}

DescriptorServer::~DescriptorServer() { close(socket_); }

void DescriptorServer::serve(int fd, int clients, std::chrono::milliseconds timeout) {
  const auto deadline = deadline_after(timeout);
  for (int served = 0; served < clients;) {
    if (!wait_readable(socket_, deadline)) {
      throw Timeout("joining: expected " + std::to_string(clients) +
                    " other ranks of this node within " + std::to_string(timeout.count()) +
                    " ms, found " + std::to_string(served) + "; see the other ranks' output");
    }
    const Socket client(accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC));
    if (client.fd() < 0 && errno != EINTR && errno != ECONNABORTED) throw_system_error("accept4");
    if (client.fd() < 0 || !same_user(client.fd())) continue;
    send_descriptor(client.fd(), fd);
    ++served;
  }
}

int receive_descriptor(const std::string& name, std::chrono::milliseconds timeout) {
  sockaddr_un address;
  const socklen_t size = abstract_address(name, address);
  const Socket server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (server.fd() < 0) throw_system_error("socket");
  if (connect(server.fd(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    throw PeerLost("joining: the first rank of this node is gone (" + errno_text(errno) +
                   "); see its output");
  }
  if (!wait_readable(server.fd(), deadline_after(timeout))) {
    throw Timeout("joining: expected the node's memory from its first rank within " +
                  std::to_string(timeout.count()) + " ms; see that rank's output");
  }
  DescriptorMessage message;
  const ssize_t received = recvmsg(server.fd(), &message.header, MSG_CMSG_CLOEXEC);
  const cmsghdr* control = received == 1 ? CMSG_FIRSTHDR(&message.header) : nullptr;
  if (control == nullptr || control->cmsg_type != SCM_RIGHTS) {
    throw PeerLost("joining: the first rank of this node went away; see its output");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(control), sizeof(fd));
  return fd;
}

}  // namespace muster::internal
