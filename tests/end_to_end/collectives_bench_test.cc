// The benchmark of collectives as a user starts it: by itself, under a launcher, and wrongly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "subprocess.h"

namespace muster::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kProgram = std::string(MUSTER_BIN_DIR) + "/collectives_bench";

std::vector<Json> read_rows(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<Json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(parse_json(line, path.string()));
  return rows;
}

// Runs `words` with a few small sizes; returns the rows written.
std::vector<Json> run_small(std::vector<std::string> words, const std::vector<std::string>& more) {
  const ScratchDirectory scratch;
  const auto path = scratch.path() / "rows.json";
  for (const char* word : {"--min-bytes", "8", "--max-bytes", "64KiB", "--factor", "64",
                           "--seconds", "0.001", "--warmup", "1", "--timeout-s", "60", "--json"}) {
    words.emplace_back(word);
  }
  words.push_back(path.string());
  words.insert(words.end(), more.begin(), more.end());
  Program program(words, scratch.path());
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(processes_with(path.string()), IsEmpty());
  return read_rows(path);
}

void expect_exact(const std::vector<Json>& rows) {
  for (const Json& row : rows) {
    EXPECT_EQ(row.at("wrong"), 0) << row;
    EXPECT_GT(row.at("median_us").get<double>(), 0) << row;
    EXPECT_LE(row.at("p10_us").get<double>(), row.at("median_us").get<double>()) << row;
    EXPECT_LE(row.at("median_us").get<double>(), row.at("p90_us").get<double>()) << row;
  }
}

TEST(CollectivesBench, StartsItsOwnRanks) {
  const auto rows = run_small({kProgram, "--ranks", "2,3"}, {"--memory", "symmetric,ordinary"});
  // 2 worlds x 3 sizes x (bare loop + 2 operations x 2 memories)
  ASSERT_EQ(rows.size(), 2u * 3u * 5u);
  EXPECT_EQ(rows.front().at("ranks"), 2);
  EXPECT_EQ(rows.back().at("ranks"), 3);
  EXPECT_GT(rows.back().at("of_bare").get<double>(), 0);
  expect_exact(rows);
}

TEST(CollectivesBench, JoinsTheRanksOfALauncher) {
  const ScratchDirectory logs;
  const auto rows =
      run_small({std::string(MUSTER_BIN_DIR) + "/muster", "run", "-n", "2", "--log-dir",
                 logs.path().string(), "--", kProgram},
                {"--operations", "all_reduce,reduce_scatter,all_gather,broadcast,barrier",
                 "--dtypes", "bfloat16,int64", "--reductions", "sum,max", "--bare-loop=false"});
  // 3 sizes x (2 reductions x 2 dtypes of 2 operations, 2 dtypes of 2, one barrier)
  ASSERT_EQ(rows.size(), 3u * (8u + 4u + 1u));
  expect_exact(rows);
}

TEST(CollectivesBench, HelpIsNoError) {
  const ScratchDirectory scratch;
  Program program({kProgram, "--help"}, scratch.path());
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("--operations"));
}

TEST(CollectivesBench, WrongUseIsTold) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"2"}, "expected flags alone, found '2'"},
      {{"--rank", "2"}, "did you mean --ranks?"},
      {{"--operations", "all_reduce,brodcast"}, "did you mean broadcast?"},
      {{"--json", "/nonexistent/rows.json"}, "name one in a directory that exists"},
      {{"--transport", "mpi"}, "expected mpirun to have started the ranks"},
  };
  for (const auto& [words, message] : wrong) {
    const ScratchDirectory scratch;
    std::vector<std::string> command = {kProgram};
    command.insert(command.end(), words.begin(), words.end());
    Program program(command, scratch.path());
    const ProgramResult result = program.wait();
    EXPECT_EQ(result.exit_code, 64) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

}  // namespace
}  // namespace muster::testing
