// The same programs without the launcher: under plain mpirun, over both transports, and alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "job.h"

namespace muster::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr int kMpirunSteps = 12;

/// `words` before the program, `options` behind it; the state goes where `job` looks for it.
ProgramResult run_program(Job& job, std::vector<std::string> words, const std::string& program,
                          const std::vector<std::string>& options) {
  words.push_back(program);
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--checkpoint-dir", job.checkpoints().string()});
  return Program(words, job.directory()).wait();
}

/// fashion_mnist for a few steps, and with `more` options.
ProgramResult run_with(Job& job, const std::vector<std::string>& words,
                       const std::vector<std::string>& more) {
  std::vector<std::string> options = fashion_mnist_options(kMpirunSteps);
  options.insert(options.end(), more.begin(), more.end());
  return run_program(job, words, std::string(MUSTER_BIN_DIR) + "/fashion_mnist", options);
}

TEST(Mpirun, GivesTheBitsOfTheLauncherOverBothTransports) {
  Job launched("fashion_mnist", fashion_mnist_options(kMpirunSteps));
  ASSERT_EQ(launched.run(2).exit_code, 0);
  for (const char* transport : {"auto", "mpi"}) {
    for (const int ranks : {2, 3}) {
      Job job("fashion_mnist", {});
      const ProgramResult result = run_with(job, mpirun(ranks), {"--transport", transport});
      ASSERT_EQ(result.exit_code, 0) << transport << " " << ranks << "\n" << result.err;
      EXPECT_EQ(job.state_hash(), launched.state_hash()) << transport << " " << ranks;
      EXPECT_EQ(job.metrics(), launched.metrics()) << transport << " " << ranks;
    }
  }
}

void expect_told_once(const ProgramResult& result, int exit_code, const std::string& part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  const std::size_t first = result.err.find(part);
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find(part, first + 1), std::string::npos) << result.err;
}

TEST(Mpirun, AWrongFlagIsToldOnce) {
  Job job("fashion_mnist", {});
  expect_told_once(run_with(job, mpirun(3), {"--epoch", "3"}), 64, "did you mean --epochs?");
}

TEST(Mpirun, AMissingDataSetIsToldOnce) {
  for (const char* transport : {"auto", "mpi"}) {
    Job job("fashion_mnist", {});
    expect_told_once(run_with(job, mpirun(3), {"--data", "/nonexistent", "--transport", transport}),
                     64, "/nonexistent/train-images-idx3-ubyte.gz");
  }
}

// Batch norm, and blocks of a transformer with a tied embedding and dropout.
TEST(Mpirun, StageThreeGathersWhereRanksShareNoMemory) {
  const std::pair<std::string, std::vector<std::string>> jobs[] = {
      {"fashion_mnist", fashion_mnist_options(kMpirunSteps)},
      {"char_gpt", char_gpt_options(kMpirunSteps)}};
  for (const auto& [program, options] : jobs) {
    Job launched(program, options);
    ASSERT_EQ(launched.run(2).exit_code, 0);
    for (const char* units : {"--prefetch-units=0", "--prefetch-units=2", "--units=*"}) {
      Job job(program, {});
      std::vector<std::string> words = options;
      words.insert(words.end(), {"--zero-stage", "3", "--transport", "mpi", units});
      const ProgramResult result =
          run_program(job, mpirun(3), std::string(MUSTER_BIN_DIR) + "/" + program, words);
      ASSERT_EQ(result.exit_code, 0) << program << " " << units << "\n" << result.err;
      EXPECT_EQ(job.state_hash(), launched.state_hash()) << program << " " << units;
    }
  }
}

// What is written into the shards is what every form of stage 3 then reads.
TEST(Mpirun, InitialWeightsReachRanksThatShareNoMemory) {
  Job trained("fashion_mnist", fashion_mnist_options(4));
  ASSERT_EQ(trained.run(2).exit_code, 0);
  std::vector<std::string> options = fashion_mnist_options(3);
  options.insert(options.end(), {"--init-from", trained.checkpoints().string()});
  Job launched("fashion_mnist", options);
  ASSERT_EQ(launched.run(2).exit_code, 0);
  options.insert(options.end(), {"--zero-stage", "3", "--transport", "mpi"});
  for (const char* form : {"--prefetch-units=1", "--replicate-between-nodes"}) {
    Job job("fashion_mnist", {});
    std::vector<std::string> words = options;
    words.emplace_back(form);
    const ProgramResult result =
        run_program(job, mpirun(2), std::string(MUSTER_BIN_DIR) + "/fashion_mnist", words);
    ASSERT_EQ(result.exit_code, 0) << form << "\n" << result.err;
    EXPECT_EQ(job.state_hash(), launched.state_hash()) << form;
  }
}

/// watched_fit by so many ranks under mpirun, which save the weights at the end: the files by name.
std::map<std::string, std::string> exports_of_fit(int ranks, std::vector<std::string> options) {
  Job job("watched_fit", {});
  const fs::path exports = job.directory() / "exports";
  fs::create_directory(exports);
  options.insert(options.end(), {"--steps", "3", "--export", exports.string()});
  const ProgramResult result = run_program(job, mpirun(ranks), MUSTER_WATCHED_FIT, options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& file : fs::directory_iterator(exports))
    files[file.path().filename().string()] = text_of(file.path());
  return files;
}

// Their memory comes and goes while they are written, too, and the other ranks stay for that,
// however long it takes, and write nothing.
TEST(Mpirun, ShardedParametersAreSavedByRank0Alone) {
  const auto from_whole = exports_of_fit(2, {});
  EXPECT_THAT(from_whole, ElementsAre(Pair("rank-0.safetensors", SizeIs(Gt(0)))));
  const auto from_shards =
      exports_of_fit(3, {"--zero-stage", "3", "--transport", "mpi", "--prefetch-units", "0",
                         "--timeout", "2", "--nap", "5"});
  EXPECT_EQ(from_shards, from_whole);
}

// Their memory comes and goes while the search looks on.
TEST(Mpirun, ALossThatIsNotFiniteIsTracedToTheModuleOfShardedParameters) {
  Job job("watched_fit", {});
  const ProgramResult result = run_program(
      job, mpirun(3), MUSTER_WATCHED_FIT,
      {"--poison", "77", "--zero-stage", "3", "--transport", "mpi", "--prefetch-units", "0"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err,
              ::testing::ContainsRegex("samples ([0-9]+, )*77(, [0-9]+)*; the first that is not "
                                       "finite is the output of module 'layers[.]0'"));
}

TEST(Mpirun, AThrowOnOneRankIsToldOnce) {
  for (const char* transport : {"auto", "mpi"}) {
    Job job("fashion_mnist", {});
    expect_told_once(
        run_program(job, mpirun(3), MUSTER_LINE_FIT,
                    {"--throw-at-step", "3", "--throw-on-rank", "1", "--transport", transport}),
        1, "the line is bent");
  }
}

TEST(Alone, AProgramIsAWorldOfOne) {
  Job launched("fashion_mnist", fashion_mnist_options(kMpirunSteps));
  ASSERT_EQ(launched.run(4).exit_code, 0);
  Job job("fashion_mnist", {});
  const ProgramResult result = run_with(job, {}, {});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(job.state_hash(), launched.state_hash());
}

}  // namespace
}  // namespace muster::testing
