// A byte there and back over 127.0.0.1, between two processes: the least that TCP costs here.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "doctor/ask_child.h"
#include "doctor/gather.h"
#include "file_descriptor.h"
#include "muster/base/error.h"

namespace muster::launcher::doctor {
namespace {

constexpr int kRounds = 500;
constexpr int kWarmUp = 50;

[[noreturn]] void fail(const char* call) {
  throw InternalError(std::string(call) + " on 127.0.0.1: " + errno_text(errno));
}

void send_small_packets_at_once(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

[[noreturn]] void echo(int listener) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int peer = accept(listener, nullptr, nullptr);
  send_small_packets_at_once(peer);
  char byte;
  while (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1) {
  }
  _exit(0);
}

double round_trip_us(int socket) {
  const auto start = std::chrono::steady_clock::now();
  char byte = 1;
  if (write(socket, &byte, 1) != 1 || read(socket, &byte, 1) != 1) fail("TCP");
  const std::chrono::duration<double, std::micro> elapsed =
      std::chrono::steady_clock::now() - start;
  return elapsed.count();
}

std::string median_round_trip() {
  const FileDescriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener.get(), generic, bytes) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), generic, &bytes) != 0) {
    fail("listen");
  }
  const pid_t peer = fork();
  if (peer < 0) fail("fork");
  if (peer == 0) echo(listener.get());
  const FileDescriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(client.get(), generic, bytes) != 0) fail("connect");
  send_small_packets_at_once(client.get());
  std::vector<double> times;
  for (int i = -kWarmUp; i < kRounds; ++i) {
    const double time = round_trip_us(client.get());
    if (i >= 0) times.push_back(time);
  }
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return std::to_string(times[kRounds / 2]);
}

}  // namespace

void measure_loopback(NetworkFacts& facts) {
  const Answer answer = ask_child(median_round_trip, std::chrono::seconds(5));
  facts.loopback_error = answer.error;
  if (answer.error.empty()) facts.loopback_us = std::strtod(answer.text.c_str(), nullptr);
}

}  // namespace muster::launcher::doctor
