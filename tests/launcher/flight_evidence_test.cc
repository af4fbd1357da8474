// Putting the records of ranks side by side: jobs, clocks, folders and what is missing.
#include <gmock/gmock.h>

#include <fstream>

#include "flight/evidence.h"
#include "launcher/muster_process.h"
#include "muster/base/error.h"
#include "muster/base/flight_recorder.h"

namespace muster::launcher::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RankEvidence evidence_of(int rank, int world_size, const std::string& boot_id = "boot") {
  RankEvidence one;
  one.log.path = flight_file_name(rank);
  one.log.rank = rank;
  one.log.world_size = world_size;
  one.log.process.boot_id = boot_id;
  one.log.anchor_wall_ns = 1'000'000;
  one.log.anchor_monotonic_ns = 1'000;
  one.log.operations.resize(1);
  one.log.operations[0].queued_ns = 2'000;
  one.process = ProcessState::kGone;
  return one;
}

TEST(FlightEvidenceTest, RanksOfOneMachineShareOneAnchor) {
  std::vector<RankEvidence> ranks{evidence_of(1, 2), evidence_of(0, 2)};
  ranks[0].log.anchor_wall_ns += 777;  // that of rank 1 was taken less exactly
  const FlightEvidence evidence = make_evidence(ranks, 0);
  ASSERT_EQ(evidence.ranks.size(), 2u);
  EXPECT_EQ(evidence.ranks[0].log.rank, 0);
  EXPECT_EQ(evidence.ranks[0].log.operations[0].queued_ns, 1'001'000);
  EXPECT_EQ(evidence.ranks[1].log.operations[0].queued_ns, 1'001'000);
  EXPECT_EQ(evidence.ranks[1].log.operations[0].started_ns, 0) << "has not happened";
  EXPECT_FALSE(evidence.several_clocks);
  EXPECT_FALSE(evidence.is_live());
  EXPECT_EQ(evidence.now_ns, 1'001'000) << "the latest time of any record";
  EXPECT_THAT(evidence.problems, IsEmpty());
}

TEST(FlightEvidenceTest, MachinesAreComparedByTheirWallClocks) {
  std::vector<RankEvidence> ranks{evidence_of(0, 2), evidence_of(1, 2, "another boot")};
  ranks[1].log.anchor_monotonic_ns = 500;
  const FlightEvidence evidence = make_evidence(ranks, 0);
  EXPECT_TRUE(evidence.several_clocks);
  EXPECT_EQ(evidence.ranks[0].log.operations[0].queued_ns, 1'001'000);
  EXPECT_EQ(evidence.ranks[1].log.operations[0].queued_ns, 1'001'500);
}

TEST(FlightEvidenceTest, NowIsThisMachinesWhileAProcessIsThere) {
  for (const ProcessState state : {ProcessState::kRunning, ProcessState::kStopped}) {
    std::vector<RankEvidence> ranks{evidence_of(0, 2, "another boot"), evidence_of(1, 2)};
    ranks[1].process = state;
    const FlightEvidence evidence = make_evidence(ranks, 9'000);
    EXPECT_TRUE(evidence.is_live());
    EXPECT_EQ(evidence.now_ns, 1'008'000);
  }
}

TEST(FlightEvidenceTest, AnEndCanBeTheLatestTime) {
  std::vector<RankEvidence> ranks{evidence_of(0, 1)};
  ranks[0].log.end = FlightEnd::kLeft;
  ranks[0].log.end_ns = 3'000;
  EXPECT_EQ(make_evidence(ranks, 0).now_ns, 1'002'000);
}

TEST(FlightEvidenceTest, OnlyTheYoungestJobCounts) {
  std::vector<RankEvidence> ranks{evidence_of(0, 2), evidence_of(1, 2), evidence_of(2, 3)};
  ranks[0].log.run_id = ranks[1].log.run_id = "new";
  ranks[2].log.run_id = "old";
  ranks[0].log.anchor_wall_ns = ranks[1].log.anchor_wall_ns = 2'000'000;
  const FlightEvidence evidence = make_evidence(ranks, 0);
  EXPECT_EQ(evidence.world_size, 2);
  EXPECT_EQ(evidence.run_id, "new");
  EXPECT_EQ(evidence.ranks.size(), 2u);
  EXPECT_THAT(evidence.problems,
              ElementsAre("flight-rank-2.bin: of another job in the same directory, left out"));
}

TEST(FlightEvidenceTest, WhatIsMissingOrDamagedIsNamed) {
  std::vector<RankEvidence> ranks{evidence_of(1, 3)};
  ranks[0].log.problem = "the file is cut off";
  ranks[0].log.unfinished_records = 2;
  ranks[0].log.dropped = 5;
  EXPECT_THAT(make_evidence(ranks, 0).problems,
              ElementsAre("flight-rank-1.bin: the file is cut off",
                          "flight-rank-1.bin: 2 records were being written and are left out",
                          HasSubstr("5 operations were not recorded"),
                          "rank 0: no flight-rank-0.bin that can be read",
                          "rank 2: no flight-rank-2.bin that can be read"));
  EXPECT_THAT(make_evidence({}, 0).ranks, IsEmpty());
}

class FlightFilesTest : public ::testing::Test {
 protected:
  void record(const std::string& folder, int rank, int world_size, int generation = 0) {
    RankEnv env;
    env.rank = rank;
    env.world_size = world_size;
    env.generation = generation;
    env.flight_directory = directory_.path() / folder;
    const auto recorder = FlightRecorder::create(env);
    const FlightLane world = recorder->add_communicator("world", rank, world_size);
    const FlightEntry entry = world.queued(0, {"barrier", {}, {}});
    entry.started(std::chrono::steady_clock::now());
    entry.ended();
  }
  std::string found(std::optional<int> generation = std::nullopt) {
    return find_flight_directory(directory_.path(), generation, *env_)
        .lexically_relative(directory_.path());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Env> env_ = make_system_env();
};

TEST_F(FlightFilesTest, TheNewestGenerationIsTaken) {
  EXPECT_THROW(found(), ConfigError);
  record("generation-009", 0, 1, 9);
  record("generation-1010", 0, 1, 1010);
  std::filesystem::create_directories(directory_.path() / "generation-2000");  // not begun yet
  std::filesystem::create_directories(directory_.path() / "generation-x");
  EXPECT_EQ(found(), "generation-1010");
  EXPECT_EQ(found(9), "generation-009");
  EXPECT_THROW(found(2000), ConfigError);
  EXPECT_THROW(found(3), ConfigError);
  record(".", 0, 1);
  EXPECT_EQ(found(), ".");
  EXPECT_EQ(found(9), "generation-009");
}

TEST_F(FlightFilesTest, AMissingDirectoryIsAConfigError) {
  EXPECT_THROW(find_flight_directory("/nowhere", std::nullopt, *env_), ConfigError);
  EXPECT_THROW(read_flight_evidence(directory_.path(), *env_), ConfigError);
}

TEST_F(FlightFilesTest, WhatIsNoFlightRecordIsLeftAlone) {
  record(".", 0, 2);
  std::ofstream(directory_.path() / "rank-1.log") << "text";
  std::ofstream(directory_.path() / "flight-rank-1.bin.77.new") << "half";
  std::ofstream(directory_.path() / "flight-rank-x.bin") << "x";
  const FlightEvidence evidence = read_flight_evidence(directory_.path(), *env_);
  EXPECT_THAT(evidence.problems, ElementsAre("rank 1: no flight-rank-1.bin that can be read"));
  EXPECT_TRUE(evidence.is_live()) << "this very process wrote it";
  EXPECT_GE(evidence.now_ns, evidence.ranks[0].log.operations[0].ended_ns);
}

TEST_F(FlightFilesTest, ADamagedFileIsNamedAndTheOthersAreRead) {
  record(".", 0, 2);
  std::ofstream(directory_.path() / "flight-rank-1.bin") << "text";
  const FlightEvidence evidence = read_flight_evidence(directory_.path(), *env_);
  EXPECT_THAT(evidence.problems, ElementsAre(HasSubstr("expected the file of a flight recorder"),
                                             "rank 1: no flight-rank-1.bin that can be read"));
  EXPECT_EQ(evidence.ranks.size(), 1u);
}

}  // namespace
}  // namespace muster::launcher::testing
