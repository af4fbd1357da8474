// What defines a job, what does not, and how differences are told.
#include "run_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"
#include "muster/trainer/trainer_options.h"

namespace muster::internal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(RunState, ProgressSurvivesJson) {
  const JobProgress progress{.step = 7,
                             .epoch = 2,
                             .position = 96,
                             .ledger = 0xfedcba9876543210u,
                             .tokens = 12345,
                             .loss_scale = {4096, 17, 3}};
  const JobProgress back = JobProgress::from_json(progress.to_json(), "test");
  EXPECT_EQ(back.step, 7);
  EXPECT_EQ(back.epoch, 2);
  EXPECT_EQ(back.position, 96);
  EXPECT_EQ(back.ledger, progress.ledger);
  EXPECT_EQ(back.tokens, 12345);
  EXPECT_EQ(back.loss_scale.scale, 4096);
  EXPECT_EQ(back.loss_scale.good_steps, 17);
  EXPECT_EQ(back.loss_scale.skipped_steps, 3);
}

TEST(RunState, BrokenProgressIsACheckpointErrorThatNamesItsOrigin) {
  for (const char* text : {"{}", "[]", R"({"step":1,"epoch":0,"position":0,"ledger":"xyz"})"}) {
    try {
      JobProgress::from_json(Json::parse(text), "step-00000001");
      FAIL() << text;
    } catch (const CheckpointError& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr("step-00000001"));
    }
  }
}

TEST(RunState, CircumstancesAreNoPartOfTheJob) {
  TrainerOptions options;
  OptionSet set("test", "");
  options.bind(set);
  const Json before = job_definition(set);
  options.checkpoint_dir = "/elsewhere";
  options.transport = "mpi";
  options.bucket_mib = 1;
  options.steps = 99;
  EXPECT_EQ(job_definition(set), before);
  options.micro_batch = 31;
  EXPECT_THAT(differences(before, job_definition(set)),
              ElementsAre("micro-batch: expected 32, found 31"));
  const Json others = circumstance_options(set);
  EXPECT_EQ(others.at("steps"), 99);
  EXPECT_EQ(others.size() + before.size(), set.to_json().size());
}

TEST(RunState, DifferencesNameMissingAndExtraEntries) {
  EXPECT_THAT(differences({{"a", 1}}, {{"a", 1}}), IsEmpty());
  EXPECT_THAT(differences({{"a", 1}}, {{"b", 2}}),
              ElementsAre("a: expected 1, found null", "b: expected nothing, found 2"));
}

TEST(TrainerOptions, AllProblemsAreToldAtOnce) {
  TrainerOptions options;
  options.micro_batch = -1;
  options.learning_rate = -1;
  options.checkpoint_every = 5;
  options.beta1 = 1.0;
  const auto problems = options.validate();
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_THAT(problems[0], testing::HasSubstr("--micro-batch"));
  EXPECT_THAT(problems[3], testing::HasSubstr("beta1"));
  EXPECT_THAT(TrainerOptions().validate(), IsEmpty());
}

}  // namespace
}  // namespace muster::internal
