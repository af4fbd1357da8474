// Which evaluation is best, and when patience ends.
#include "score_watch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

TEST(ScoreWatch, TheBestIsTheFirstOfEquals) {
  ScoreWatch loss({.metric = "loss"});
  EXPECT_TRUE(loss.add(10, 2.0));
  EXPECT_FALSE(loss.add(20, 2.5));
  EXPECT_TRUE(loss.add(30, 1.0));
  EXPECT_FALSE(loss.add(40, 1.0));
  EXPECT_EQ(loss.best_step(), 30);
  EXPECT_EQ(loss.best(), 1.0);
  EXPECT_FALSE(loss.exhausted());  // no limit was given

  ScoreWatch accuracy({.metric = "accuracy", .larger_is_better = true});
  EXPECT_TRUE(accuracy.add(1, 0.5));
  EXPECT_FALSE(accuracy.add(2, 0.4));
  EXPECT_TRUE(accuracy.add(3, 0.6));
}

TEST(ScoreWatch, PatienceCountsEvaluationsWithoutProgress) {
  ScoreWatch watch({.metric = "loss", .patience = 2, .min_delta = 0.1});
  watch.add(1, 1.0);
  EXPECT_TRUE(watch.add(2, 0.95));  // the best so far, but no progress
  EXPECT_FALSE(watch.exhausted());
  EXPECT_TRUE(watch.add(3, 0.85));  // by more than 0.1 under 1.0
  EXPECT_FALSE(watch.add(4, 0.9));
  EXPECT_FALSE(watch.exhausted());
  EXPECT_FALSE(watch.add(5, 0.9));
  EXPECT_TRUE(watch.exhausted());
}

TEST(ScoreWatch, WhatIsNoNumberIsNeverBest) {
  ScoreWatch watch({.metric = "loss", .patience = 3});
  EXPECT_FALSE(watch.add(1, std::nan("")));
  EXPECT_FALSE(watch.best_step().has_value());
  EXPECT_TRUE(watch.add(2, 5.0));
  EXPECT_FALSE(watch.add(3, std::nan("")));
  EXPECT_FALSE(watch.add(4, std::nan("")));
  EXPECT_FALSE(watch.exhausted());
  EXPECT_FALSE(watch.add(5, 5.0));
  EXPECT_TRUE(watch.exhausted());
}

// JSON, in which it is kept, has no infinity.
TEST(ScoreWatch, WhatIsInfiniteIsNeverBest) {
  ScoreWatch watch({.metric = "loss"});
  EXPECT_FALSE(watch.add(1, std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(watch.add(2, -std::numeric_limits<double>::infinity()));
  ScoreWatch restored({.metric = "loss"});
  EXPECT_TRUE(restored.restore(Json::parse(watch.to_json().dump()), "here"));
  EXPECT_TRUE(watch.add(3, 7.0));
}

TEST(ScoreWatch, WhatWasNotSavedIsForgotten) {
  ScoreWatch watch({.metric = "loss", .patience = 2});
  watch.add(1, 5.0);
  watch.add(2, 4.0);
  watch.add(3, 3.0);
  watch.forget(2);
  EXPECT_EQ(watch.best_step(), 3);
  watch.forget(3);
  EXPECT_EQ(watch.best_step(), 1);
  EXPECT_EQ(watch.best(), 5.0);
  // Progress it was all the same.
  EXPECT_TRUE(watch.add(4, 3.5));
  EXPECT_FALSE(watch.exhausted());
  watch.add(5, 3.5);
  EXPECT_TRUE(watch.exhausted());
  watch.forget(4);
  watch.forget(1);
  EXPECT_FALSE(watch.best_step().has_value());
  ScoreWatch restored({.metric = "loss", .patience = 2});
  EXPECT_TRUE(restored.restore(watch.to_json(), "here"));
  EXPECT_TRUE(restored.exhausted());
}

TEST(ScoreWatch, ReadsWhatIsBetter) {
  EXPECT_EQ(parse_score("max:accuracy").metric, "accuracy");
  EXPECT_TRUE(parse_score("max:accuracy").larger_is_better);
  EXPECT_FALSE(parse_score("min:confusion.macro_f1").larger_is_better);
  for (const char* text : {"", "accuracy", "max:", "most:accuracy"})
    EXPECT_THROW(parse_score(text), ConfigError) << text;
}

TEST(ScoreWatch, GoesOnWhereItWas) {
  const ScoreRule rule{.metric = "loss", .patience = 2, .min_delta = 0.01};
  ScoreWatch watch(rule);
  for (const double value : {0.3, 0.1, 0.2}) watch.add(7, value);
  ScoreWatch again(rule);
  EXPECT_TRUE(again.restore(parse_json(watch.to_json().dump(), "test"), "test"));
  EXPECT_EQ(again.to_json(), watch.to_json());
  EXPECT_FALSE(again.add(9, 0.15));
  EXPECT_TRUE(again.exhausted());

  ScoreWatch other({.metric = "accuracy"});
  EXPECT_FALSE(other.restore(watch.to_json(), "test"));
  EXPECT_FALSE(other.best_step().has_value());
  EXPECT_TRUE(ScoreWatch(rule).restore(ScoreWatch(rule).to_json(), "test"));
  EXPECT_THROW(ScoreWatch(rule).restore(Json::object(), "step-1"), CheckpointError);
}

}  // namespace
}  // namespace muster::internal
