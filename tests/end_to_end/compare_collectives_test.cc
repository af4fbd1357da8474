// The comparison with the peers, from the programs to the verdict.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "subprocess.h"

namespace muster::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kScript = std::string(MUSTER_SOURCE_DIR) + "/benchmarks/compare_collectives";

ProgramResult compare(const std::vector<std::string>& words) {
  const ScratchDirectory scratch;
  std::vector<std::string> command = {kScript, "--bin", MUSTER_BIN_DIR};
  command.insert(command.end(), words.begin(), words.end());
  Program program(command, scratch.path());
  return program.wait();
}

TEST(CompareCollectives, RunsEveryLibraryAndJudgesTheClaims) {
  for (const char* peer : {"/gloo_bench", "/openmpi_bench"}) {
    if (!std::filesystem::exists(MUSTER_BIN_DIR + std::string(peer))) {
      GTEST_SKIP() << "needs " << peer
                   << ", which was not built: MPI or Gloo's headers are missing";
    }
  }
  const ProgramResult result =
      compare({"--rounds", "1", "--seconds", "0.001", "--ranks", "2", "--max-bytes", "1024"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  for (const char* library : {"bare loop", "gloo", "open-mpi", "canonical_all_reduce"}) {
    EXPECT_THAT(result.out, HasSubstr(library));
  }
  EXPECT_THAT(result.out, HasSubstr("2 ranks, 1 KiB: canonical within 1.5 us"));
  EXPECT_THAT(processes_with(MUSTER_BIN_DIR "/gloo_bench"), IsEmpty());
}

TEST(CompareCollectives, WrongUseIsTold) {
  const ProgramResult result = compare({"--ranks", "two"});
  EXPECT_EQ(result.exit_code, 64) << result.err;
  EXPECT_THAT(result.err, HasSubstr("found 'two'"));
}

}  // namespace
}  // namespace muster::testing
