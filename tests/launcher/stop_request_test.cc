// Ask, then kill: every order of signals and time.
#include "stop_request.h"

#include <gtest/gtest.h>

#include <csignal>

namespace muster::launcher {
namespace {

using Step = StopRequest::Step;

constexpr TimePoint at(int ms) { return TimePoint(std::chrono::milliseconds(ms)); }
constexpr std::chrono::milliseconds kGrace{1000};

TEST(StopRequestTest, NothingIsDueBeforeASignal) {
  StopRequest stop(kGrace);
  EXPECT_FALSE(stop.requested());
  EXPECT_FALSE(stop.deadline());
  EXPECT_EQ(stop.on_time(at(1 << 30)), Step::kNothing);
}

TEST(StopRequestTest, FirstInterruptAsksSecondKills) {
  StopRequest stop(kGrace);
  EXPECT_EQ(stop.on_signal(SIGINT, at(5)), Step::kAsk);
  EXPECT_EQ(stop.reason(), "interrupt");
  EXPECT_EQ(stop.deadline(), at(1005));
  EXPECT_EQ(stop.on_signal(SIGINT, at(6)), Step::kKill);
  EXPECT_EQ(stop.on_signal(SIGINT, at(7)), Step::kNothing);
  EXPECT_FALSE(stop.deadline());
  EXPECT_EQ(stop.exit_code(false), 130);
}

TEST(StopRequestTest, TermAndHupAreNoticesOfPreemption) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    StopRequest stop(kGrace);
    EXPECT_EQ(stop.on_signal(signal, at(0)), Step::kAsk);
    EXPECT_EQ(stop.reason(), "preempt");
    EXPECT_EQ(stop.on_signal(signal, at(1)), Step::kNothing) << "managers repeat themselves";
    EXPECT_EQ(stop.exit_code(true), 79);
    EXPECT_EQ(stop.exit_code(false), 75);
    EXPECT_EQ(stop.on_signal(SIGINT, at(2)), Step::kKill) << "a person wins";
  }
}

TEST(StopRequestTest, TheGracePeriodEndsOnce) {
  StopRequest stop(kGrace);
  stop.on_signal(SIGTERM, at(0));
  EXPECT_EQ(stop.on_time(at(999)), Step::kNothing);
  EXPECT_EQ(stop.on_time(at(1000)), Step::kKill);
  EXPECT_EQ(stop.on_time(at(1001)), Step::kNothing);
  EXPECT_TRUE(stop.killing());
}

TEST(StopRequestTest, NoGraceKillsAtOnce) {
  StopRequest stop(std::chrono::milliseconds(0));
  stop.on_signal(SIGINT, at(3));
  EXPECT_EQ(stop.on_time(at(3)), Step::kKill);
}

}  // namespace
}  // namespace muster::launcher
