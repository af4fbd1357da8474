// The measure of a training step: its program, and the comparison's use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "muster/base/json.h"
#include "subprocess.h"

namespace muster::testing {
namespace {

using ::testing::HasSubstr;

ProgramResult run(std::vector<std::string> words) {
  const ScratchDirectory scratch;
  return Program(words, scratch.path()).wait();
}

TEST(CompareTraining, TheBenchPrintsARowOfEachStage) {
  for (const char* stage : {"0", "3"}) {
    const ProgramResult result =
        run({MUSTER_BIN_DIR "/muster", "run", "-n", "2", "--", MUSTER_BIN_DIR "/training_bench",
             "--width", "16", "--layers", "1", "--steps", "3", "--zero-stage", stage});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::size_t begin = result.out.find('{');
    ASSERT_NE(begin, std::string::npos) << result.out;
    const Json row = Json::parse(result.out.substr(begin, result.out.find('}') + 1 - begin));
    EXPECT_EQ(row.at("mode"), std::string("stage ") + stage);
    EXPECT_GT(row.at("median_ms").get<double>(), 0);
    EXPECT_LE(row.at("least_ms").get<double>(), row.at("median_ms").get<double>());
    EXPECT_LE(row.at("median_ms").get<double>(), row.at("most_ms").get<double>());
  }
}

TEST(CompareTraining, WrongUseIsTold) {
  const std::string script = std::string(MUSTER_SOURCE_DIR) + "/benchmarks/compare_training";
  const ProgramResult model = run({script, "--models", "7B"});
  EXPECT_EQ(model.exit_code, 64) << model.err;
  EXPECT_THAT(model.err, HasSubstr("found '7B'"));
  const ProgramResult rounds = run({script, "--rounds", "0"});
  EXPECT_EQ(rounds.exit_code, 64) << rounds.err;
  const ProgramResult bench = run({MUSTER_BIN_DIR "/training_bench", "--widht", "16"});
  EXPECT_EQ(bench.exit_code, 64) << bench.err;
  EXPECT_THAT(bench.err, HasSubstr("--width"));
}

}  // namespace
}  // namespace muster::testing
