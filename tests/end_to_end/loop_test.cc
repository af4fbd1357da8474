// When training ends, which checkpoint is the best, what a run by name goes on from, and what a
// Trainer is told; across kills as well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "job.h"
#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Json json_of(const fs::path& path) { return parse_json(text_of(path), path.string()); }

Json score_of(const fs::path& checkpoint) {
  const auto env = make_system_env();
  return checkpoint::Checkpoint::open(checkpoint, *env).manifest().run_state.at("score");
}

Job::Environment dies_at(const std::string& when) { return {{"MUSTER_TEST_DIE_AT", when}}; }

const std::vector<std::string> kPatient = {"--best-at",
                                           "30",
                                           "--score",
                                           "min:distance",
                                           "--patience",
                                           "3",
                                           "--keep-checkpoints",
                                           "1",
                                           "--checkpoint-every",
                                           "5",
                                           "--ema",
                                           "0.9"};

TEST(Loop, PatienceEndsItAndTheBestCheckpointStays) {
  Job calm(MUSTER_WATCHED_FIT, kPatient);
  const ProgramResult result = calm.run(2);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(calm.checkpoint_names(), ElementsAre("step-00000030", "step-00000060"));
  // Which program wrote it, and how it was told to.
  const auto env = make_system_env();
  const Json circumstances = checkpoint::Checkpoint::open(calm.checkpoint_paths().back(), *env)
                                 .manifest()
                                 .run_state.at("circumstances");
  EXPECT_GE(circumstances.at("build_id").get<std::string>().size(), 16u);
  EXPECT_EQ(circumstances.at("options").at("patience"), 3);
  EXPECT_EQ(
      json_of(calm.checkpoints() / "best.json"),
      parse_json(R"({"step":30,"checkpoint":"step-00000030","metric":"distance","value":0.0})",
                 "test"));

  Job killed(MUSTER_WATCHED_FIT, kPatient);
  const ProgramResult recovered = killed.run(3, {}, {}, dies_at("48"));
  ASSERT_EQ(recovered.exit_code, 0) << recovered.err;
  EXPECT_THAT(recovered.err, HasSubstr("recovered in"));
  EXPECT_EQ(killed.checkpoint_names(), calm.checkpoint_names());
  EXPECT_EQ(killed.state_hash(), calm.state_hash());
  EXPECT_EQ(killed.metrics(), calm.metrics());
  EXPECT_EQ(text_of(killed.checkpoints() / "best.json"), text_of(calm.checkpoints() / "best.json"));
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_EQ(score_of(killed.checkpoint_paths()[i]), score_of(calm.checkpoint_paths()[i]));
}

TEST(Loop, WhatATrainerSavesOfItsOwnComesBack) {
  ScratchDirectory scratch;
  const fs::path events = scratch.path() / "events";
  Job job(MUSTER_WATCHED_FIT,
          {"--checkpoint-every", "20", "--steps", "60", "--events", events.string()});
  const ProgramResult result = job.run(2, {}, {}, dies_at("48"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("recovered in"));
  EXPECT_THAT(text_of(events), HasSubstr("saw 60 steps\n"));
}

TEST(Loop, TheBestSoManyStayAlsoWhereTheRunIsKilled) {
  std::vector<std::string> options = kPatient;
  options.insert(options.end(), {"--keep-best", "3"});
  Job killed(MUSTER_WATCHED_FIT, options);
  const ProgramResult result = killed.run(2, {}, {}, dies_at("48"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  // Evaluated every 10 steps, each as far from the best as it is from step 30; of two as far the
  // earlier stays. Those of steps 25 and 35 have no score of their own.
  EXPECT_THAT(killed.checkpoint_names(),
              ElementsAre("step-00000020", "step-00000030", "step-00000040", "step-00000060"));
}

TEST(Loop, WhatWasNotSavedIsNotTheBest) {
  Job job(MUSTER_WATCHED_FIT, {"--steps", "30", "--best-at", "20", "--score", "min:distance",
                               "--validate", "--block-save", "20", "--checkpoint-failures", "1"});
  const ProgramResult result = job.run(2);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(job.checkpoint_names(), ElementsAre("step-00000010", "step-00000030"));
  // As far from the best as that of step 30, and before it.
  for (const char* file : {"best.json", "test.json"})
    EXPECT_EQ(json_of(job.checkpoints() / file).at("step"), 10) << file;
}

TEST(Loop, AScoreThatIsNoMetricIsNamed) {
  Job job(MUSTER_WATCHED_FIT, {"--score", "max:accuracy"});
  const ProgramResult result = job.run(2);
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("(distance, bias), found 'accuracy'"));
}

TEST(Loop, ARunByNameGoesOnEndsAndStartsOver) {
  Job job(MUSTER_WATCHED_FIT, {"--run", "first", "--checkpoint-every", "10"});
  const auto run = [&](const std::vector<std::string>& options,
                       const Job::Environment& environment = {}) {
    return job.run(2, {"--max-restarts", "0"}, options, environment);
  };
  const fs::path directory = job.checkpoints() / "first";
  EXPECT_NE(run({"--steps", "30"}, dies_at("25")).exit_code, 0);
  // That of step 20 may be on its way still; it began when the one before was committed.
  EXPECT_TRUE(fs::exists(directory / "step-00000010"));
  ASSERT_EQ(run({"--steps", "30"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(directory / "step-00000030"));

  const ProgramResult finished = run({"--steps", "30"});
  EXPECT_EQ(finished.exit_code, 64);
  EXPECT_THAT(finished.err, HasSubstr("'first' is finished (30 of 30 steps)"));
  const ProgramResult foreign = run({"--steps", "40", "--seed", "7"});
  EXPECT_EQ(foreign.exit_code, 64);
  EXPECT_THAT(foreign.err, HasSubstr("seed: expected 0, found 7"));
  EXPECT_EQ(run({"--steps", "40"}).exit_code, 0);

  EXPECT_EQ(run({"--steps", "10", "--seed", "7", "--fresh"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(directory / "superseded-1" / "step-00000040"));
  EXPECT_TRUE(fs::exists(directory / "step-00000010"));
}

// What was left to do at its end is done by the next start.
TEST(Loop, ARunByNameIsFinishedOnceItsEndIsDone) {
  ScratchDirectory scratch;
  const fs::path events = scratch.path() / "events";
  Job job(MUSTER_WATCHED_FIT,
          {"--run", "first", "--steps", "10", "--events", events.string(), "--validate"});
  const std::vector<std::string> once = {"--max-restarts", "0"};
  EXPECT_NE(job.run(2, once, {}, dies_at("end")).exit_code, 0);
  EXPECT_THAT(text_of(events), Not(HasSubstr("saw 10 steps")));
  const ProgramResult second = job.run(2, once);
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(text_of(events), HasSubstr("saw 10 steps"));
  const ProgramResult third = job.run(2, once);
  EXPECT_EQ(third.exit_code, 64);
  EXPECT_THAT(third.err, HasSubstr("'first' is finished (10 of 10 steps)"));
}

TEST(Loop, StartingOverLeavesOtherRunsAlone) {
  Job job(MUSTER_WATCHED_FIT, {"--steps", "5"});
  ASSERT_EQ(job.run(1, {}, {"--run", "first"}).exit_code, 0);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(job.run(1, {}, {"--fresh"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(job.checkpoints() / "first" / "step-00000005"));
  // A number is not given twice.
  fs::remove_all(job.checkpoints() / "superseded-1");
  ASSERT_EQ(job.run(1, {}, {"--fresh"}).exit_code, 0);
  for (const char* name : {"superseded-2", "superseded-3"})
    EXPECT_TRUE(fs::exists(job.checkpoints() / name / "step-00000005")) << name;
}

TEST(Loop, OtherDataAreRefused) {
  Job job(MUSTER_WATCHED_FIT, {"--checkpoint-every", "1"});
  ASSERT_EQ(job.run(2, {}, {"--steps", "5"}).exit_code, 0);
  const ProgramResult result = job.run(2, {}, {"--steps", "8"}, {{"MUSTER_TEST_SAMPLES", "161"}});
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("expected the 160 training samples that the run has had so "
                                    "far, found 161"));
}

TEST(Loop, AScheduleOverOtherStepsIsTold) {
  Job job(MUSTER_WATCHED_FIT, {"--schedule", "cosine"});
  ASSERT_EQ(job.run(1, {}, {"--steps", "5"}).exit_code, 0);
  const ProgramResult result = job.run(1, {}, {"--steps", "8"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--schedule cosine was planned over 5 steps so far, and is "
                                    "over 8 from here on"));
}

// Micro-batches among them of which every sample does.
TEST(Loop, SamplesMayCountForNothing) {
  std::string hash;
  for (const int world_size : {1, 3}) {
    Job job(MUSTER_WATCHED_FIT, {"--steps", "10", "--masked", "120"});
    const ProgramResult result = job.run(world_size);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    double counted = 0;
    std::istringstream lines(job.metrics());
    for (std::string line; std::getline(lines, line);)
      counted += Json::parse(line).value("samples", 0.0);
    EXPECT_EQ(counted, 40);
    if (hash.empty()) hash = job.state_hash();
    EXPECT_EQ(job.state_hash(), hash);
  }
}

// 103 samples, which no number of ranks divides, in batches of 10.
TEST(Loop, MetricsOverRanksAreThoseOfOneWalk) {
  const auto evaluate = [](int world_size, const std::string& logical_ranks,
                           const std::string& batch) {
    Job job(MUSTER_WATCHED_FIT,
            {"--steps", "1", "--learning-rate", "0", "--validate", "--all-metrics",
             "--logical-ranks", logical_ranks, "--eval-batch", batch});
    const ProgramResult result = job.run(world_size);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::istringstream lines(job.metrics());
    Json found;
    for (std::string line; std::getline(lines, line);)
      found = Json::parse(line).value("validation", found);
    return found;
  };
  const Json expected = evaluate(1, "1", "1000");
  for (const char* name : {"accuracy", "top_2", "auroc", "perplexity", "confusion"})
    ASSERT_TRUE(expected.contains(name)) << expected;
  EXPECT_GT(expected.at("auroc"), 0.3);
  EXPECT_LT(expected.at("auroc"), 0.7);
  for (const int world_size : {1, 2, 3, 4}) {
    const Json found = evaluate(world_size, "4", "10");
    for (const char* name : {"accuracy", "top_2", "auroc", "confusion"})
      EXPECT_EQ(found.at(name), expected.at(name)) << name << " of " << world_size;
    EXPECT_NEAR(found.at("perplexity").get<double>(), expected.at("perplexity").get<double>(),
                1e-12);
  }
}

TEST(Loop, TokensAndMinutesEndIt) {
  // 16 samples a step.
  Job tokens(MUSTER_WATCHED_FIT, {"--epochs", "0", "--tokens", "200"});
  ProgramResult result = tokens.run(3);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(tokens.checkpoint_names(), ElementsAre("step-00000013"));

  Job minutes(MUSTER_WATCHED_FIT,
              {"--epochs", "0", "--minutes", "0.01", "--eval-every", "0", "--run", "short"});
  result = minutes.run(3);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(fs::exists(minutes.checkpoints() / "short" / "metrics.jsonl"));
  result = minutes.run(2);
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("'short' is finished"));

  Job cosine(MUSTER_WATCHED_FIT, {"--epochs", "0", "--tokens", "200", "--schedule", "cosine"});
  EXPECT_THAT(cosine.run(1).err, HasSubstr("--schedule: expected constant, step or exponential"));
}

TEST(Loop, TheTrainerIsToldAndTheTestDataAreUsedOnceOnTheBest) {
  ScratchDirectory scratch;
  const fs::path events = scratch.path() / "events";
  Job job(MUSTER_WATCHED_FIT, {"--steps", "30", "--best-at", "20", "--score", "min:distance",
                               "--validate", "--log-every", "1", "--events", events.string()});
  const ProgramResult result = job.run(2);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json test = json_of(job.checkpoints() / "test.json");
  EXPECT_EQ(test.at("step"), 20);
  EXPECT_THAT(job.metrics(), Not(HasSubstr("\"test\"")));

  // When a checkpoint is done is a matter of time, but not in which order.
  std::istringstream lines(text_of(events));
  std::vector<std::string> told, checkpoints;
  for (std::string line; std::getline(lines, line);)
    (line.rfind("checkpoint", 0) == 0 ? checkpoints : told).push_back(line);
  std::ostringstream bias;
  bias << "bias " << std::to_string(test.at("test").at("bias").get<double>());
  EXPECT_THAT(told,
              ElementsAre("step 5", "step 10", "epoch 1", "evaluation 10 best of 5", "step 15",
                          "step 20", "epoch 2", "evaluation 20 best of 5", "step 25", "step 30",
                          "epoch 3", "evaluation 30 of 5", bias.str(), "saw 30 steps"));
  EXPECT_THAT(checkpoints, ElementsAre("checkpoint 10 step-00000010", "checkpoint 20 step-00000020",
                                       "checkpoint 30 step-00000030"));
}

TEST(Loop, ALossThatIsNotFiniteNamesStepRankSamplesAndModule) {
  Job job(MUSTER_WATCHED_FIT, {"--poison", "77", "--checkpoint-every", "1"});
  for (const int world_size : {1, 3}) {
    const ProgramResult result = job.run(world_size, {"--max-restarts", "0"});
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_THAT(result.err,
                ::testing::ContainsRegex(
                    "step [0-9]+: expected a finite loss, found (inf|nan); logical rank "
                    "[0-3] has the first such micro-batch; no update was made; samples "
                    "([0-9]+, )*77(, [0-9]+)*; the first that is not finite is the "
                    "output of module 'layers[.]0' \\(aten::addmm\\)"));
  }
}

}  // namespace
}  // namespace muster::testing
