// Control messages: every kind there and back, hostile packets, and a peer that is gone or does not
// read.
#include "muster/base/control_messages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <memory>
#include <string>
#include <thread>

#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster {
namespace {

template <typename M>
M round_trip(const M& message) {
  return std::get<M>(decode_control_message(encode_control_message(message)));
}

struct Ends {
  Ends() : Ends(ControlChannel::make_pair()) {}
  explicit Ends(std::pair<int, int> fds)
      : launcher(std::make_unique<ControlChannel>(fds.first)),
        rank(std::make_unique<ControlChannel>(fds.second)) {}
  std::unique_ptr<ControlChannel> launcher;
  std::unique_ptr<ControlChannel> rank;
};

TEST(ControlMessage, EveryKindRoundTrips) {
  EXPECT_EQ(round_trip(Hello{4711}).pid, 4711);
  EXPECT_EQ(round_trip(Resumed{120}).step, 120);
  const Progress progress = round_trip(Progress{7, 100, 2, 0.1, 12345.5});
  EXPECT_EQ(progress.step, 7);
  EXPECT_EQ(progress.total_steps, 100);
  EXPECT_EQ(progress.epoch, 2);
  EXPECT_EQ(progress.loss, 0.1);  // the shortest text that reads back to the same double
  EXPECT_EQ(progress.samples_per_second, 12345.5);
  const CheckpointDone checkpoint = round_trip(CheckpointDone{9, "/run dir/\"step\"-9"});
  EXPECT_EQ(checkpoint.step, 9);
  EXPECT_EQ(checkpoint.path, "/run dir/\"step\"-9");
  const Failure failure = round_trip(Failure{75, "PeerLost", "rank 1\nis gone", 3});
  EXPECT_EQ(failure.exit_code, 75);
  EXPECT_EQ(failure.kind, "PeerLost");
  EXPECT_EQ(failure.message, "rank 1\nis gone");
  EXPECT_EQ(failure.step, 3);
  round_trip(Done{});
  const Stop stop = round_trip(Stop{"preempt", 30000});
  EXPECT_EQ(stop.reason, "preempt");
  EXPECT_EQ(stop.grace_ms, 30000);
}

TEST(ControlMessage, TextOnTheWireIsFrozen) {
  EXPECT_EQ(
      encode_control_message(Progress{1, 2, 3, 0.5, 4}),
      R"({"type":"progress","step":1,"total_steps":2,"epoch":3,"loss":0.5,"samples_per_second":4.0})");
  EXPECT_EQ(encode_control_message(Stop{"interrupt", 5}),
            R"({"type":"stop","reason":"interrupt","grace_ms":5})");
}

TEST(ControlMessage, LossThatIsNotFiniteArrivesAsNaN) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double loss : {std::nan(""), infinity, -infinity}) {
    EXPECT_TRUE(std::isnan(round_trip(Progress{1, 2, 0, loss, 1}).loss));
  }
}

TEST(ControlMessage, BytesThatAreNoTextAreReplaced) {
  EXPECT_EQ(round_trip(Failure{1, "UserError", "bad \xff name", 0}).message,
            "bad \xef\xbf\xbd name");
  EXPECT_EQ(round_trip(CheckpointDone{1, std::string("a\0b", 3)}).path, std::string("a\0b", 3));
}

TEST(ControlMessage, LongFailureIsCutAndFitsAPacketWhateverItsBytes) {
  Ends ends;
  for (const char byte : {'x', '\x01', '\xff', '"'}) {
    ASSERT_TRUE(ends.rank->send(Failure{70, "InternalError", std::string(1 << 20, byte), 5}));
    const auto message = ends.launcher->receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_GE(std::get<Failure>(*message).message.size(), 8u * 1024);
    EXPECT_EQ(std::get<Failure>(*message).exit_code, 70);
  }
}

TEST(ControlMessage, HostileTextIsDataError) {
  for (
      const char* text :
      {"", "{", "[]", "null", "7", "{}", R"({"type":7})", R"({"type":"hallo"})",
       R"({"type":"hello"})", R"({"type":"hello","pid":"1"})", R"({"type":"hello","pid":1.5})",
       R"({"type":"failure","exit_code":4294967296,"kind":"","message":"","step":0})",
       R"({"type":"progress","step":1,"total_steps":2,"epoch":0,"loss":"x","samples_per_second":1})",
       R"({"type":"progress","step":1,"total_steps":2,"epoch":0,"samples_per_second":1})",
       R"({"type":"stop","reason":null,"grace_ms":1})"}) {
    EXPECT_THROW(decode_control_message(text), DataError) << text;
  }
  // No stack is deep enough for a parser that recurses this often.
  EXPECT_THROW(decode_control_message(std::string(60000, '[')), DataError);
}

TEST(ControlChannel, CarriesMessagesBothWaysInOrder) {
  Ends ends;
  EXPECT_FALSE(ends.launcher->receive().has_value());
  EXPECT_FALSE(ends.launcher->peer_gone());
  ASSERT_TRUE(ends.rank->send(Hello{1}));
  ASSERT_TRUE(ends.rank->send(Done{}));
  ASSERT_TRUE(ends.launcher->send(Stop{"interrupt", 10}));
  EXPECT_TRUE(std::holds_alternative<Hello>(ends.launcher->receive().value()));
  EXPECT_TRUE(std::holds_alternative<Done>(ends.launcher->receive().value()));
  EXPECT_TRUE(std::holds_alternative<Stop>(ends.rank->receive().value()));
}

TEST(ControlChannel, HostilePacketIsDroppedAndTheNextIsRead) {
  Ends ends;
  ASSERT_EQ(send(ends.rank->fd(), "garbage", 7, 0), 7);
  // Whole in its first 64 KiB: to cut it without a word would give a message.
  const std::string huge = encode_control_message(Done{}) + std::string(100000, ' ');
  ASSERT_EQ(send(ends.rank->fd(), huge.data(), huge.size(), 0), static_cast<ssize_t>(huge.size()));
  ASSERT_TRUE(ends.rank->send(Hello{2}));
  EXPECT_THROW(ends.launcher->receive(), DataError);
  EXPECT_THROW(ends.launcher->receive(), DataError);
  EXPECT_EQ(std::get<Hello>(ends.launcher->receive().value()).pid, 2);
}

TEST(ControlChannel, PeerGoneIsReportedWithoutSigpipe) {
  ASSERT_NE(signal(SIGPIPE, SIG_DFL), SIG_ERR);  // a SIGPIPE would end this test program
  Ends ends;
  ends.launcher.reset();
  EXPECT_FALSE(ends.rank->send(Done{}));
  EXPECT_FALSE(ends.rank->receive().has_value());
  EXPECT_TRUE(ends.rank->peer_gone());
}

// A rank that fails as the launcher's Stop is on its way dies with the Stop unread.
TEST(ControlChannel, LastWordsArriveThoughThePeerLeftAMessageUnread) {
  Ends ends;
  ASSERT_TRUE(ends.launcher->send(Stop{"preempt", 1}));
  ASSERT_TRUE(ends.rank->send(Failure{65, "DataError", "torn file", 4}));
  ends.rank.reset();
  const auto message = ends.launcher->receive();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(std::get<Failure>(*message).message, "torn file");
  EXPECT_FALSE(ends.launcher->peer_gone());
  EXPECT_FALSE(ends.launcher->receive().has_value());
  EXPECT_TRUE(ends.launcher->peer_gone());
}

/// Fills the buffer towards the peer; the messages sent.
int fill(ControlChannel& channel) {
  const std::string text = encode_control_message(Hello{0});
  int sent = 0;
  while (send(channel.fd(), text.data(), text.size(), MSG_NOSIGNAL) >= 0) ++sent;
  EXPECT_EQ(errno, EAGAIN);
  return sent;
}

void shrink_buffer(const ControlChannel& channel) {
  const int bytes = 1;  // the kernel makes it its least
  ASSERT_EQ(setsockopt(channel.fd(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

TEST(ControlChannel, SendWaitsForAPeerThatReads) {
  Ends ends;
  shrink_buffer(*ends.rank);
  const int filled = fill(*ends.rank);
  ASSERT_GT(filled, 0);
  bool sent = false;
  std::thread sender([&] { sent = ends.rank->send(Done{}); });
  int received = 0;
  bool done = false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!done && std::chrono::steady_clock::now() < deadline) {
    const auto message = ends.launcher->receive();
    if (!message) std::this_thread::yield();
    if (message) ++received;
    if (message) done = std::holds_alternative<Done>(*message);
  }
  sender.join();
  EXPECT_TRUE(sent);
  EXPECT_TRUE(done);
  EXPECT_EQ(received, filled + 1);
}

TEST(ControlChannel, SendGivesUpOnAPeerThatDoesNotRead) {
  using std::chrono::milliseconds;
  const auto [near, far] = ControlChannel::make_pair();
  ControlChannel channel(near, milliseconds(50));
  ControlChannel peer(far);
  shrink_buffer(channel);
  fill(channel);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(channel.send(Done{}));
  const auto waited = std::chrono::steady_clock::now() - start;
  EXPECT_GE(waited, milliseconds(50));
  EXPECT_LE(waited, milliseconds(5000));  // a busy machine's delay
}

TEST(ControlChannel, DescriptorsAreClosedOnExecAndAfterUse) {
  const auto [a, b] = ControlChannel::make_pair();
  {
    ControlChannel first(a);
    ControlChannel second(b);
    EXPECT_EQ(fcntl(a, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_EQ(fcntl(b, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  }
  EXPECT_EQ(fcntl(a, F_GETFD), -1);
  EXPECT_EQ(fcntl(b, F_GETFD), -1);
}

TEST(ControlChannel, WhatIsNoSocketIsConfigError) {
  EXPECT_THROW(ControlChannel(-1), ConfigError);
  EXPECT_THROW(ControlChannel(1 << 20), ConfigError);
  const int fd = open("/dev/null", O_RDWR);
  ASSERT_GE(fd, 0);
  EXPECT_THROW({ ControlChannel channel(fd); }, ConfigError);
  EXPECT_EQ(close(fd), 0) << "the caller's descriptor must stay open";
}

}  // namespace
}  // namespace muster
