// Signals through a descriptor, and those that stay ignored.
#include "signal_source.h"

#include <gmock/gmock.h>

namespace muster::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(SignalSourceTest, SignalsAreTakenAndDoNotKill) {
  SignalSource signals;
  EXPECT_THAT(signals.take(), IsEmpty());
  raise(SIGINT);
  raise(SIGTERM);
  EXPECT_THAT(signals.take(), UnorderedElementsAre(SIGINT, SIGTERM));
  EXPECT_THAT(signals.take(), IsEmpty());
}

TEST(SignalSourceTest, WhatNohupIgnoresStaysIgnored) {
  std::signal(SIGHUP, SIG_IGN);
  {
    SignalSource signals;
    raise(SIGHUP);
    raise(SIGTERM);
    EXPECT_THAT(signals.take(), ElementsAre(SIGTERM));
  }
  std::signal(SIGHUP, SIG_DFL);
}

TEST(SignalSourceTest, EverythingIsPutBack) {
  { SignalSource signals; }
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_FALSE(sigismember(&mask, SIGINT));
  struct sigaction action {};
  sigaction(SIGPIPE, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace muster::launcher
