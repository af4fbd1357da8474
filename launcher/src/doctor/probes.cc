// Each probe does the thing itself and throws what the kernel said.
#include "doctor/probes.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "doctor/ask_child.h"
#include "file_descriptor.h"
#include "muster/base/error.h"
#include "muster/base/node_memory.h"

namespace muster::launcher::doctor {
namespace {

[[noreturn]] void fail(const std::string& call) {
  throw InternalError(call + ": " + errno_text(errno));
}

std::string try_shared_memory() {
  const auto memory = NodeMemory::create(1, 0);
  memory->map(NodeMemory::symmetric_offset_bytes(), 1 << 20)[0] = std::byte{1};
  return "";
}

void send_descriptor(int socket, int fd) {
  char byte = 1;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(socket, &message, 0) != 1) fail("sendmsg");
}

void receive_descriptor(int socket) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, 0) != 1) fail("recvmsg");
  if (CMSG_FIRSTHDR(&message) == nullptr) throw InternalError("recvmsg: no descriptor came");
}

std::string try_descriptors() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
  send_descriptor(ends[0], ends[0]);
  receive_descriptor(ends[1]);
  return "";
}

/// A child that does `work` and is gone when this returns.
template <typename Work>
void let_child(const Work& work) {
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    work();
    _exit(0);
  }
  if (waitpid(pid, nullptr, 0) != pid) fail("waitpid");
}

std::string try_dead_peer() {
  const auto memory = NodeMemory::create(2, 0);
  memory->join(0);
  let_child([&] {
    NodeMemory::attach(dup(memory->fd()), 0).release()->join(1);  // and dies without leaving
  });
  if (!memory->peer_is_gone(1)) throw InternalError("the kernel did not release its mutex");
  return "";
}

std::string try_pidfd() {
  const FileDescriptor self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self.is_open()) fail("pidfd_open");
  pollfd wait{self.get(), POLLIN, 0};
  if (poll(&wait, 1, 0) != 0) throw InternalError("poll: a living process looks dead");
  return "";
}

std::string try_orphans() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("prctl PR_SET_CHILD_SUBREAPER");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("prctl PR_SET_PDEATHSIG");
  return "";
}

// One child of ours reads another's memory, as Open MPI does between ranks of a node.
std::string try_peer_memory() {
  static const char secret[] = "muster";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
  const pid_t peer = fork();
  if (peer < 0) fail("fork");
  if (peer == 0) {
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);  // stays until the parent is done
  }
  const Answer answer = ask_child(
      [&]() -> std::string {
        char copy[sizeof secret] = {};
        const iovec local{copy, sizeof copy};
        const iovec remote{const_cast<char*>(secret), sizeof secret};
        if (process_vm_readv(peer, &local, 1, &remote, 1, 0) < 0) fail("process_vm_readv");
        return copy;
      },
      std::chrono::seconds(1));
  close(ends[1]);
  waitpid(peer, nullptr, 0);
  if (!answer.error.empty()) throw InternalError(answer.error);
  if (answer.text != secret) throw InternalError("process_vm_readv: read something else");
  return "";
}

Probe probe(const char* name, std::string (*work)()) {
  const Answer answer = ask_child(work, std::chrono::seconds(5));
  return {name, answer.error.empty(), answer.error};
}

}  // namespace

std::vector<Probe> run_probes() {
  return {probe(kSharedMemoryProbe, try_shared_memory),
          probe(kDescriptorProbe, try_descriptors),
          probe(kDeathProbe, try_dead_peer),
          probe(kPidfdProbe, try_pidfd),
          probe(kOrphansProbe, try_orphans),
          probe(kPeerMemoryProbe, try_peer_memory)};
}

}  // namespace muster::launcher::doctor
