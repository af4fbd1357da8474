// `muster flight` on real files.
#include <gmock/gmock.h>

#include <fstream>

#include "launcher/muster_process.h"
#include "muster/base/flight_recorder.h"

namespace muster::launcher::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class FlightCommandTest : public MusterCommandTest {
 protected:
  /// Three ranks, of which rank 1 does not come to the second operation. They are this process.
  void record_a_hang() {
    for (int rank = 0; rank < 3; ++rank) {
      lanes_.push_back(start(rank, 3));
      end(lanes_.back(), 0, {"barrier", {}, {}});
    }
    for (const int rank : {0, 2}) {
      lanes_[static_cast<std::size_t>(rank)].queued(1, kSum).started(long_ago_);
    }
  }

  FlightLane start(int rank, int world_size) {
    RankEnv env;
    env.rank = rank;
    env.world_size = world_size;
    env.run_id = "run-9";
    env.flight_directory = directory_.path() / "logs" / "generation-000";
    recorders_.push_back(FlightRecorder::create(env));
    return recorders_.back()->add_communicator("world", rank, world_size);
  }
  static void end(const FlightLane& lane, std::uint64_t sequence, const FlightCall& call) {
    const FlightEntry entry = lane.queued(sequence, call);
    entry.started(std::chrono::steady_clock::now());
    entry.ended();
  }

  Json json() const { return parse_json(output_, "output"); }

  static constexpr FlightCall kSum{"all_reduce", "Float", "sum", 64, 256};
  const FlightEntry::Time long_ago_ = std::chrono::steady_clock::now() - std::chrono::seconds(10);
  std::vector<std::shared_ptr<FlightRecorder>> recorders_;
  std::vector<FlightLane> lanes_;
};

TEST_F(FlightCommandTest, NamesTheOperationAndTheRank) {
  record_a_hang();
  EXPECT_EQ(run({"flight", "logs"}), 1);
  EXPECT_THAT(output_, HasSubstr("logs/generation-000: generation 0, 3 ranks, run run-9\n"));
  EXPECT_THAT(output_, ContainsRegex(
                           "hangs: operation 1 all_reduce\\(sum, Float, 64 elements\\): ranks 0, 2 "
                           "wait since 1[0-9]\\.[0-9] s; rank 1 never came, its last was operation "
                           "0 barrier\\(\\), ended [0-9.]+ m?s ago\n"));
  EXPECT_THAT(output_, HasSubstr("the last 2 of 2 operations"));
  EXPECT_THAT(output_,
              ContainsRegex("1 +all_reduce\\(sum, Float, 64 elements\\) +0, 2 .*ranks 0, 2 "
                            "not out of it"));
  EXPECT_THAT(output_, HasSubstr("who came late:"));
}

TEST_F(FlightCommandTest, SaysTheSameAsJson) {
  record_a_hang();
  EXPECT_EQ(run({"flight", "--json", "logs/generation-000"}), 1);
  EXPECT_EQ(json()["state"], "hangs");
  EXPECT_EQ(json()["run_id"], "run-9");
  EXPECT_EQ(json()["world_size"], 3);
  const Json finding = json()["findings"][0];
  EXPECT_EQ(finding["sequence"], 1);
  EXPECT_EQ(finding["communicator"], "world");
  EXPECT_EQ(finding["operation"], "all_reduce(sum, Float, 64 elements)");
  EXPECT_EQ(finding["waiting"], Json({0, 2}));
  EXPECT_EQ(finding["absent"], Json::array({1}));
  EXPECT_GT(finding["waited_s"], 9.0);
  EXPECT_EQ(finding["sentence"], json()["verdict"]);
  EXPECT_EQ(json()["ranks"].size(), 3u);
  EXPECT_EQ(json()["ranks"][1]["pid"], getpid());
  EXPECT_EQ(json()["ranks"][1]["process"], "running");
  EXPECT_EQ(json()["ranks"][1]["operations"], 1);
  // The last to begin is the barrier: the others' starts are made up.
  EXPECT_EQ(json()["operations"].size(), 2u);
  EXPECT_EQ(json()["lateness"].size(), 3u);
}

// Rank 0 waits in its communicator 50, rank 1 in its own, which is another.
TEST_F(FlightCommandTest, CommunicatorsThatARecordHasNoRoomForAreNotTakenForEachOther) {
  for (int rank = 0; rank < 2; ++rank) {
    start(rank, 2);
    FlightLane lane;
    std::vector<FlightLane> others;
    for (int i = 1; i <= 50; ++i) {
      others.push_back(recorders_.back()->add_communicator("part " + std::to_string(i), rank, 2));
    }
    others.back().queued(7, kSum).started(long_ago_);
  }
  EXPECT_EQ(run({"flight", "logs"}), 1);
  EXPECT_THAT(output_,
              ContainsRegex("hangs: operation 7 all_reduce\\(sum, Float, 64 elements\\) of "
                            "communicator 50 of rank 0: rank 0 waits since 1[0-9]\\.[0-9] s; who "
                            "else is in it was not recorded\n"));
  EXPECT_THAT(output_, HasSubstr("communicator 50 of rank 1"));
  EXPECT_THAT(output_,
              HasSubstr("note: ranks 0, 1 had more communicators than the 48 that a record "
                        "has room for; "));
  EXPECT_EQ(run({"flight", "--json", "logs"}), 1);
  EXPECT_EQ(json()["ranks_with_unlisted_communicators"], Json({0, 1}));
}

TEST_F(FlightCommandTest, LastLimitsTheTable) {
  record_a_hang();
  EXPECT_EQ(run({"flight", "logs", "--last=1", "--json"}), 1);
  EXPECT_EQ(json()["operations"].size(), 1u);
  EXPECT_EQ(run({"flight", "logs", "--last", "0"}), 1);
  EXPECT_THAT(output_, Not(HasSubstr("the last ")));
  EXPECT_EQ(run({"flight", "logs", "--last", "many"}), 64);
  EXPECT_THAT(error_, HasSubstr("--last: expected a count, found 'many'"));
  EXPECT_EQ(run({"flight", "logs", "--last"}), 64);
  EXPECT_THAT(error_, HasSubstr("expected a value after --last"));
}

TEST_F(FlightCommandTest, AJobThatEndedInOrderIsSuccess) {
  for (int rank = 0; rank < 2; ++rank) end(start(rank, 2), 0, {"leave", {}, {}});
  for (const auto& recorder : recorders_) recorder->end(FlightEnd::kLeft);
  EXPECT_EQ(run({"flight", "logs"}), 0);
  EXPECT_THAT(output_,
              HasSubstr("ended in order: ranks 0, 1 left in order; the newest is operation "
                        "0 leave(), begun "));
}

TEST_F(FlightCommandTest, AMissingFileIsNamedAndTheRestIsTold) {
  record_a_hang();
  std::filesystem::remove(directory_.path() / "logs" / "generation-000" / "flight-rank-1.bin");
  EXPECT_EQ(run({"flight", "logs"}), 65);
  EXPECT_THAT(output_, HasSubstr("rank 1 left no record\n"));
  EXPECT_THAT(output_, HasSubstr("not read: rank 1: no flight-rank-1.bin that can be read\n"));
}

TEST_F(FlightCommandTest, GenerationsCanBeChosen) {
  record_a_hang();
  EXPECT_EQ(run({"flight", "logs", "--generation", "0"}), 1);
  EXPECT_EQ(run({"flight", "logs", "--generation=1"}), 64);
  EXPECT_THAT(error_, HasSubstr("expected flight records (flight-rank-R.bin)"));
  EXPECT_EQ(run({"flight", "nowhere"}), 64);
  EXPECT_EQ(run({"flight"}), 64);
  EXPECT_EQ(run({"flight", "logs", "--lats", "3"}), 64);
  EXPECT_THAT(error_, HasSubstr("did you mean --last?"));
}

}  // namespace
}  // namespace muster::launcher::testing
