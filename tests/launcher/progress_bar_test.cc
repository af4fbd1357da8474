// Progress as text: never wider than the terminal, never wrong.
#include "progress_bar.h"

#include <gmock/gmock.h>

#include <limits>

namespace muster::launcher {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ProgressView half_way() {
  ProgressView view;
  view.progress = {250, 500, 1, 0.43125, 3400};
  view.world_size = 2;
  view.generation = 3;
  view.time_left = std::chrono::seconds(12);
  return view;
}

TEST(ProgressBarTest, ALineHasAllFacts) {
  EXPECT_EQ(progress_line(half_way()),
            "step 250/500  loss 0.4313  3.4k samples/s  ETA 0:12  2 ranks  gen 3");
}

TEST(ProgressBarTest, UnknownFactsAreLeftAway) {
  ProgressView view;
  view.progress = {7, 0, 0, std::numeric_limits<double>::quiet_NaN(), 0};
  EXPECT_EQ(progress_line(view), "step 7  loss nan  1 rank  gen 0");
  EXPECT_THAT(progress_bar(view, 100), Not(HasSubstr("%")));
}

TEST(ProgressBarTest, ABarShowsTheShareDone) {
  const std::string bar = progress_bar(half_way(), 200);
  EXPECT_THAT(
      bar, HasSubstr("[" + std::string(15, '#') + std::string(15, '-') + "]  50%  step 250/500"));
}

TEST(ProgressBarTest, ItFitsEveryWidth) {
  for (int columns = 0; columns <= 200; ++columns) {
    for (const std::int64_t step : {0, 1, 250, 499, 500, 501}) {
      ProgressView view = half_way();
      view.progress.step = step;
      EXPECT_LT(static_cast<int>(progress_bar(view, columns).size()), std::max(columns, 1))
          << columns;
    }
  }
}

TEST(ProgressBarTest, DurationsAndRates) {
  EXPECT_EQ(duration_text(std::chrono::seconds(7)), "0:07");
  EXPECT_EQ(duration_text(std::chrono::seconds(754)), "12:34");
  EXPECT_EQ(duration_text(std::chrono::seconds(11045)), "3:04:05");
  EXPECT_EQ(rate_text(3.25), "3.2");
  EXPECT_EQ(rate_text(950), "950");
  EXPECT_EQ(rate_text(999.9), "1.0k");
  EXPECT_EQ(rate_text(1234567), "1.2M");
}

TEST(ProgressBarTest, TimeLeftFollowsThePace) {
  const Progress progress{30, 100, 0, 0, 0};
  EXPECT_EQ(time_left(progress, 10, std::chrono::seconds(40)), std::chrono::seconds(140));
  EXPECT_FALSE(time_left(progress, 30, std::chrono::seconds(40))) << "no step made yet";
  EXPECT_FALSE(time_left(Progress{30, 0, 0, 0, 0}, 10, std::chrono::seconds(40))) << "no end known";
  EXPECT_FALSE(time_left(Progress{100, 100, 0, 0, 0}, 10, std::chrono::seconds(40))) << "there";
}

}  // namespace
}  // namespace muster::launcher
