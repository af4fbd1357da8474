// The restart decision over all small cases.
#include "restart_policy.h"

#include <gmock/gmock.h>

namespace muster::launcher {
namespace {

using ::testing::HasSubstr;

GenerationEnd crash(int crashed_ranks = 1, std::int64_t resumed = 0, std::int64_t last = 0) {
  GenerationEnd end;
  end.cause = EndKind::kCrashed;
  end.exit_code = 75;
  end.crashed_ranks = crashed_ranks;
  end.resumed_step = resumed;
  end.last_step = last;
  return end;
}

RestartHistory at_world_size(int world_size) {
  RestartHistory history;
  history.world_size = world_size;
  return history;
}

TEST(RestartPolicyTest, DoneIsTheEnd) {
  const Decision decision = decide({}, {}, at_world_size(2));
  EXPECT_EQ(decision.action, Action::kFinish);
  EXPECT_EQ(decision.exit_code, 0);
}

TEST(RestartPolicyTest, WhatWouldHappenAgainIsNotTriedAgain) {
  for (const int code : {1, 64, 65, 70, 74, 76}) {
    for (const bool stopped : {false, true}) {
      GenerationEnd end;
      end.cause = EndKind::kError;
      end.exit_code = code;
      end.stop_requested = stopped;
      const Decision decision = decide(end, {}, at_world_size(2));
      EXPECT_EQ(decision.action, Action::kFinish) << code;
      EXPECT_EQ(decision.exit_code, code);
    }
  }
}

TEST(RestartPolicyTest, CrashesTimeoutsAndLostPeersAreTriedAgain) {
  for (const EndKind kind : {EndKind::kCrashed, EndKind::kTimedOut, EndKind::kPeerLost}) {
    GenerationEnd end = crash();
    end.cause = kind;
    const Decision decision = decide(end, {}, at_world_size(2));
    EXPECT_EQ(decision.action, Action::kRestart);
    EXPECT_EQ(decision.next.world_size, 2);
    EXPECT_EQ(decision.next.restarts, 1);
    EXPECT_THAT(decision.reason, HasSubstr("restart 1 of 3"));
  }
}

TEST(RestartPolicyTest, ExactlyMaxRestartsAreMade) {
  for (int max_restarts = 0; max_restarts <= 6; ++max_restarts) {
    RestartHistory history = at_world_size(2);
    const RestartRules rules{max_restarts, std::nullopt};
    int restarts = 0;
    // Every generation gets further than the one before, so that the crash loop's limit plays no
    // part.
    for (int step = 10;; step += 10) {
      const Decision decision = decide(crash(1, step - 10, step), rules, history);
      if (decision.action == Action::kFinish) {
        EXPECT_EQ(decision.exit_code, 75);
        EXPECT_THAT(decision.reason, HasSubstr("--max-restarts"));
        break;
      }
      history = decision.next;
      ASSERT_LE(++restarts, max_restarts);
    }
    EXPECT_EQ(restarts, max_restarts);
  }
}

TEST(RestartPolicyTest, NoLimitMeansNoLimitWhileStepsAreMade) {
  RestartHistory history = at_world_size(2);
  for (int step = 1; step <= 1000; ++step) {
    const Decision decision = decide(crash(1, step - 1, step), {-1, std::nullopt}, history);
    ASSERT_EQ(decision.action, Action::kRestart) << step;
    history = decision.next;
  }
  EXPECT_EQ(history.restarts, 1000);
}

// Restarts until the policy gives up, with the same end each time.
int restarts_until_given_up(const GenerationEnd& end, std::string* reason) {
  RestartHistory history = at_world_size(2);
  for (int restarts = 0; restarts < 100; ++restarts) {
    const Decision decision = decide(end, {-1, std::nullopt}, history);
    *reason = decision.reason;
    if (decision.action == Action::kFinish) {
      EXPECT_EQ(decision.exit_code, 75);
      return restarts;
    }
    history = decision.next;
  }
  return 100;
}

TEST(RestartPolicyTest, RestartsWithoutANewStepAreACrashLoop) {
  std::string reason;
  EXPECT_EQ(restarts_until_given_up(crash(1, 0, 0), &reason), kCrashLoopLimit);
  EXPECT_THAT(reason, HasSubstr("crash loop"));
  EXPECT_EQ(restarts_until_given_up(crash(1, 50, 50), &reason), kCrashLoopLimit);
}

TEST(RestartPolicyTest, DyingAtTheSameStepAgainIsACrashLoop) {
  std::string reason;
  EXPECT_EQ(restarts_until_given_up(crash(1, 5, 9), &reason), kCrashLoopLimit);
  EXPECT_THAT(reason, HasSubstr("crash loop"));
}

TEST(RestartPolicyTest, ANewStepForgivesTheCrashesBefore) {
  RestartHistory history = at_world_size(2);
  history.restarts = 2;
  history.restarts_without_step = kCrashLoopLimit - 1;
  history.last_end_step = 4;
  const Decision decision = decide(crash(1, 0, 5), {-1, std::nullopt}, history);
  EXPECT_EQ(decision.action, Action::kRestart);
  EXPECT_EQ(decision.next.restarts_without_step, 0);
}

TEST(RestartPolicyTest, ElasticGivesUpTheSlotsOfTheDeadDownToMin) {
  for (int world_size = 1; world_size <= 8; ++world_size) {
    for (int min = 1; min <= world_size; ++min) {
      for (int crashed = 0; crashed <= world_size; ++crashed) {
        const Decision decision =
            decide(crash(crashed), {3, ElasticRange{min, 8}}, at_world_size(world_size));
        ASSERT_EQ(decision.action, Action::kRestart);
        EXPECT_EQ(decision.next.world_size, std::max(min, world_size - crashed));
      }
    }
  }
}

TEST(RestartPolicyTest, WithoutElasticTheWorldKeepsItsSize) {
  EXPECT_EQ(decide(crash(3), {}, at_world_size(4)).next.world_size, 4);
}

TEST(RestartPolicyTest, AStopIsNeverFollowedByARestart) {
  for (const EndKind kind :
       {EndKind::kStopped, EndKind::kCrashed, EndKind::kPeerLost, EndKind::kKilled}) {
    GenerationEnd end = crash();
    end.cause = kind;
    end.stop_requested = true;
    end.stop_exit_code = 79;
    const Decision decision = decide(end, {-1, std::nullopt}, at_world_size(2));
    EXPECT_EQ(decision.action, Action::kFinish);
    EXPECT_EQ(decision.exit_code, 79);
  }
}

TEST(RestartPolicyTest, AJobThatFinishedDespiteTheStopIsDone) {
  GenerationEnd end;
  end.stop_requested = true;
  EXPECT_EQ(decide(end, {}, at_world_size(1)).exit_code, 0);
}

TEST(RestartPolicyTest, RanksToldToStopByAnotherKeepTheirCode) {
  GenerationEnd end;
  end.cause = EndKind::kStopped;
  end.exit_code = 79;
  const Decision decision = decide(end, {}, at_world_size(1));
  EXPECT_EQ(decision.action, Action::kFinish);
  EXPECT_EQ(decision.exit_code, 79);
}

}  // namespace
}  // namespace muster::launcher
