// A rank that dies under mpirun with fault tolerance: every survivor is told within a second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "subprocess.h"

namespace muster::testing {
namespace {

ProgramResult lose_a_rank(const std::string& transport, int victim,
                          const std::filesystem::path& directory) {
  std::vector<std::string> words = mpirun(3, {"--with-ft", "ulfm"});
  words.insert(words.end(),
               {MUSTER_PEER_LOSS, transport, std::to_string(victim), directory.string()});
  return Program(words, directory).wait(std::chrono::seconds(60));
}

TEST(PeerLoss, IsToldToEverySurvivorUnderMpirun) {
  for (const char* transport : {"shm", "mpi"}) {
    for (const int victim : {0, 2}) {
      SCOPED_TRACE(std::string(transport) + ", victim " + std::to_string(victim));
      ScratchDirectory directory;
      const ProgramResult result = lose_a_rank(transport, victim, directory.path());
      for (int rank = 0; rank < 3; ++rank) {
        if (rank == victim) continue;
        const std::regex told("survivor " + std::to_string(rank) +
                              " after (\\d+) ms: all_reduce.*");
        std::smatch found;
        ASSERT_TRUE(std::regex_search(result.out, found, told)) << result.out << result.err;
        EXPECT_LT(std::stoi(found[1]), 1000) << result.out;
      }
    }
  }
}

}  // namespace
}  // namespace muster::testing
