// Short yields go on, long ones pause.
#include "yield_habit.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace muster::internal {
namespace {

using std::chrono::microseconds;

/// How many meetings go by until the next yield.
int pause_of(YieldHabit& habit) {
  int meetings = 0;
  while (!habit.pays()) ++meetings;
  return meetings;
}

TEST(YieldHabit, GoesOnWhileYieldsAreShort) {
  YieldHabit habit;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(habit.pays());
    habit.took(microseconds(2));
  }
}

TEST(YieldHabit, PausesTwiceAsLongAfterEachLongYieldInARow) {
  YieldHabit habit;
  int expected = YieldHabit::kLeastPause;
  for (int i = 0; i < 20; ++i) {
    habit.took(YieldHabit::kLong);
    EXPECT_EQ(pause_of(habit), expected);
    expected = std::min(2 * expected, YieldHabit::kLongestPause);
  }
  EXPECT_EQ(expected, YieldHabit::kLongestPause);
}

TEST(YieldHabit, ForgetsLongOnesAfterAShortOne) {
  YieldHabit habit;
  for (int i = 0; i < 5; ++i) habit.took(microseconds(4000));
  pause_of(habit);
  habit.took(microseconds(2));
  habit.took(microseconds(4000));
  EXPECT_EQ(pause_of(habit), YieldHabit::kLeastPause);
}

}  // namespace
}  // namespace muster::internal
