// muster plan, on a real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "job.h"
#include "subprocess.h"

namespace muster::testing {
namespace {

using ::testing::HasSubstr;

ProgramResult plan(const std::vector<std::string>& flags,
                   const std::vector<std::string>& circumstances = {}) {
  std::vector<std::string> words{std::string(MUSTER_BIN_DIR) + "/muster", "plan"};
  words.insert(words.end(), flags.begin(), flags.end());
  words.insert(words.end(), {"--", std::string(MUSTER_BIN_DIR) + "/char_gpt"});
  const std::vector<std::string> options = char_gpt_options(1);
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), circumstances.begin(), circumstances.end());
  const ScratchDirectory scratch;
  const auto checkpoints = scratch.path() / "checkpoints";
  words.insert(words.end(), {"--checkpoint-dir", checkpoints.string()});
  ProgramResult result = Program(words, scratch.path()).wait();
  EXPECT_FALSE(std::filesystem::exists(checkpoints)) << "planning writes nothing";
  return result;
}

struct Row {
  int ranks = 0, stage = 0;
  double parameters = 0, gradients = 0, optimizer = 0, activations = 0, total = 0;
  std::string verdict;
};

std::vector<Row> rows_of(const std::string& text) {
  std::vector<Row> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Row row;
    double process = 0, all = 0;
    if (words >> row.ranks >> row.stage >> row.parameters >> row.gradients >> row.optimizer >>
        row.activations >> process >> row.total >> all >> std::ws) {
      std::getline(words, row.verdict);
      rows.push_back(row);
    }
  }
  return rows;
}

TEST(Plan, ShrinksWithStageAndWorldSize) {
  const ProgramResult result = plan({"--world-sizes", "1,4", "--memory-gib", "64"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<Row> rows = rows_of(result.out);
  ASSERT_EQ(rows.size(), 8U) << result.out;
  for (const Row& row : rows) EXPECT_EQ(row.verdict, "fits");
  const Row& whole = rows[4];
  const Row& shared = rows[7];
  EXPECT_EQ(whole.ranks, 4);
  EXPECT_EQ(shared.stage, 3);
  EXPECT_NEAR(shared.parameters, whole.parameters / 4, 0.11);
  EXPECT_NEAR(shared.optimizer, whole.optimizer / 4, 0.11);
  EXPECT_LE(shared.gradients, whole.gradients + 0.1 + whole.gradients / 4);
}

TEST(Plan, MeasuresWhatActivationCheckpointingSaves) {
  const ProgramResult plain = plan({"--world-sizes", "1"});
  const ProgramResult with = plan({"--world-sizes", "1"}, {"--activation-checkpointing"});
  ASSERT_EQ(rows_of(plain.out).size(), 4U) << plain.out << plain.err;
  ASSERT_EQ(rows_of(with.out).size(), 4U) << with.out << with.err;
  EXPECT_LT(rows_of(with.out)[0].activations, rows_of(plain.out)[0].activations);
}

TEST(Plan, SaysWhatDoesNotFit) {
  const ProgramResult result = plan({"--memory-gib", "0.001"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const Row& row : rows_of(result.out)) EXPECT_THAT(row.verdict, HasSubstr("does not fit"));
}

// Two ranks and a half have room on a machine: at every stage four ranks take two.
TEST(Plan, CountsTheMachinesOfEveryStage) {
  const double mib = rows_of(plan({"--world-sizes", "4"}).out).at(3).total;
  const ProgramResult result =
      plan({"--world-sizes", "4", "--memory-gib", std::to_string(2.5 * mib / 1024)});
  ASSERT_EQ(rows_of(result.out).size(), 4U) << result.out << result.err;
  EXPECT_EQ(rows_of(result.out)[2].verdict, "needs 2 such machines");
  const std::string sharded = rows_of(result.out)[3].verdict;
  EXPECT_THAT(sharded,
              ::testing::MatchesRegex("needs 2 such machines, with [0-9.]+ MiB of blocks a rank"));
}

TEST(Plan, WrongUseIsTold) {
  const ProgramResult large = plan({"--world-sizes", "1,9"});
  EXPECT_EQ(large.exit_code, 64);
  EXPECT_THAT(large.err, HasSubstr("--world-sizes: expected 1 to --logical-ranks (4), found 9"));
  EXPECT_THAT(plan({"--world-sizes", "two"}).err, HasSubstr("found 'two'"));
  EXPECT_THAT(plan({"--memory-gib", "-1"}).err, HasSubstr("found '-1'"));
  const ScratchDirectory scratch;
  const ProgramResult none =
      Program({std::string(MUSTER_BIN_DIR) + "/muster", "plan"}, scratch.path()).wait();
  EXPECT_EQ(none.exit_code, 64);
  EXPECT_THAT(none.err, HasSubstr("expected a program after --"));
}

}  // namespace
}  // namespace muster::testing
