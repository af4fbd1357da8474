// Ranks on two hosts, several on one: shared memory and MPI together give what either gives alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "job.h"
#include "two_hosts.h"

namespace muster::testing {
namespace {

class Nodes : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = TwoHosts::missing();
    if (!missing.empty()) GTEST_SKIP() << missing;
  }
};

std::vector<std::string> even_and_uneven() {
  return {TwoHosts::mpirun_words(2), TwoHosts::mpirun_words(3, 1)};
}

/// Ranks 0 and 2 on the first host, 1 and 3 on the second: no subtree lies within a node.
std::string taking_turns() {
  const std::string words = TwoHosts::mpirun_words(2, 2);
  return std::regex_replace(words, std::regex("--map-by slot"), "--map-by node");
}

TEST_F(Nodes, GiveExactResultsOfAllOperations) {
  const TwoHosts hosts;
  for (const std::string& ranks : even_and_uneven()) {
    const ProgramResult result =
        hosts.run("MUSTER_TEST_EXPECTED_TRANSPORT=nodes mpirun " + ranks +
                  " -x MUSTER_TEST_EXPECTED_TRANSPORT " MUSTER_OPERATIONS_TEST);
    EXPECT_EQ(result.exit_code, 0) << ranks << "\n" << result.out << result.err;
  }
}

/// What the ranks of reduction_bits printed, in order.
std::vector<std::string> bits_lines_of(const std::string& text) {
  static const std::regex kLine("rank \\d+: bits \\w+ by \\w+");
  std::vector<std::string> lines;
  for (std::sregex_iterator i(text.begin(), text.end(), kLine), end; i != end; ++i) {
    lines.push_back(i->str());
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST_F(Nodes, GiveTheBitsOfOneNode) {
  const TwoHosts hosts;
  const ProgramResult one_node = hosts.run("mpirun -n 4 " MUSTER_REDUCTION_BITS " auto");
  std::vector<std::string> expected = bits_lines_of(one_node.out);
  ASSERT_EQ(expected.size(), 4u) << one_node.out << one_node.err;
  for (std::string& line : expected) line = std::regex_replace(line, std::regex("shm"), "nodes");
  for (const std::string& ranks :
       {TwoHosts::mpirun_words(2), TwoHosts::mpirun_words(3, 1), taking_turns()}) {
    const ProgramResult result = hosts.run("mpirun " + ranks + " " MUSTER_REDUCTION_BITS " auto");
    EXPECT_EQ(bits_lines_of(result.out), expected) << ranks << "\n" << result.err;
  }
}

TEST_F(Nodes, OfOneRankEachUseMpiAlone) {
  const TwoHosts hosts;
  const ProgramResult result =
      hosts.run("mpirun " + TwoHosts::mpirun_words(1) + " " MUSTER_REDUCTION_BITS " auto");
  ASSERT_EQ(bits_lines_of(result.out).size(), 2u) << result.out << result.err;
  EXPECT_TRUE(bits_lines_of(result.out)[0].ends_with("by mpi")) << result.out;
}

TEST_F(Nodes, TrainToTheStateOfOneNode) {
  constexpr int kSteps = 8;
  Job launched("fashion_mnist", fashion_mnist_options(kSteps));
  ASSERT_EQ(launched.run(2).exit_code, 0);
  const TwoHosts hosts;
  for (const std::string& ranks : even_and_uneven()) {
    Job job("fashion_mnist", {});
    std::string command = "mpirun " + ranks + " fashion_mnist";
    for (const std::string& option : fashion_mnist_options(kSteps)) command += " " + option;
    const ProgramResult result =
        hosts.run(command + " --checkpoint-dir " + job.checkpoints().string());
    ASSERT_EQ(result.exit_code, 0) << ranks << "\n" << result.err;
    EXPECT_EQ(job.state_hash(), launched.state_hash()) << ranks;
  }
}

/// char_gpt on two hosts; the checkpoints of `job` are gone on from.
void train_char_gpt(const TwoHosts& hosts, const Job& job, const std::string& ranks, int steps,
                    const std::string& more) {
  std::string command = "mpirun " + ranks + " char_gpt";
  for (const std::string& option : char_gpt_options(steps)) command += " " + option;
  const ProgramResult result =
      hosts.run(command + " --checkpoint-dir " + job.checkpoints().string() + " " + more);
  ASSERT_EQ(result.exit_code, 0) << ranks << " " << more << "\n" << result.err;
}

// Parameters come block by block from the ranks that have them, or a node has a copy.
TEST_F(Nodes, TrainWithShardedParametersToTheStateOfOneNode) {
  constexpr int kSteps = 6;
  const TwoHosts hosts;
  const std::pair<std::string, std::string> runs[] = {{TwoHosts::mpirun_words(2), "fp32"},
                                                      {TwoHosts::mpirun_words(3, 1), "bf16"}};
  for (const auto& [ranks, precision] : runs) {
    Job launched("char_gpt", char_gpt_options(kSteps));
    ASSERT_EQ(launched.run(2, {}, {"--precision", precision}).exit_code, 0);
    for (const char* form : {"", " --replicate-between-nodes"}) {
      Job job("char_gpt", {});
      train_char_gpt(hosts, job, ranks, kSteps, "--zero-stage 3 --precision " + precision + form);
      EXPECT_EQ(job.state_hash(), launched.state_hash()) << ranks << precision << form;
    }
  }
}

// What one form wrote the others read.
TEST_F(Nodes, GoOnFromShardedParametersInAnotherForm) {
  Job launched("char_gpt", char_gpt_options(6));
  ASSERT_EQ(launched.run(2).exit_code, 0);
  const TwoHosts hosts;
  Job job("char_gpt", {});
  train_char_gpt(hosts, job, TwoHosts::mpirun_words(3, 1), 2, "--zero-stage 3");
  train_char_gpt(hosts, job, TwoHosts::mpirun_words(2), 4,
                 "--zero-stage 3 --replicate-between-nodes");
  train_char_gpt(hosts, job, TwoHosts::mpirun_words(1), 6, "--zero-stage 3");
  EXPECT_EQ(job.state_hash(), launched.state_hash());
}

// Between hosts Open MPI 5.0 sometimes ends a living rank along with the dead one, without a word
// and whatever the transport: so not every survivor lives to be told.
TEST_F(Nodes, TellTheSurvivorsOfADeadRankOnEitherHost) {
  const TwoHosts hosts;
  for (const std::string& ranks : even_and_uneven()) {
    for (const int victim : {1, 3}) {
      SCOPED_TRACE(ranks + ", victim " + std::to_string(victim));
      const ScratchDirectory meeting;
      const ProgramResult result =
          hosts.run("mpirun --with-ft ulfm " + ranks + " " MUSTER_PEER_LOSS " auto " +
                    std::to_string(victim) + " " + meeting.path().string());
      const std::string name = "rank " + std::to_string(victim);
      const std::regex told("survivor \\d+ after (\\d+) ms: all_reduce.*, operation \\d+: .*");
      int survivors = 0;
      bool named = false;
      for (std::sregex_iterator i(result.out.begin(), result.out.end(), told), end; i != end; ++i) {
        ++survivors;
        named = named || i->str().find(name) != std::string::npos;
        EXPECT_LT(std::stoi((*i)[1]), 1000) << result.out;
      }
      EXPECT_GE(survivors, 1) << result.out << result.err;
      EXPECT_TRUE(named) << result.out << result.err;
    }
  }
}

}  // namespace
}  // namespace muster::testing
