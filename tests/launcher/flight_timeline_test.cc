// Rows, skews and stragglers of records made up by value.
#include <gmock/gmock.h>

#include "flight/timeline.h"
#include "launcher/flight_scene.h"

namespace muster::launcher::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<TimelineRow> rows_of(const Scene& scene) {
  return make_timeline(index_operations(scene.evidence(1000)));
}

TEST(FlightTimelineTest, ARowSaysWhoCameLastAndByHowMuch) {
  Scene scene(3);
  scene.ended(0, 5, kSum, 10.0, 11.75);
  scene.ended(1, 5, kSum, 11.5, 11.75);
  scene.ended(2, 5, kSum, 10.5, 12.0);
  const auto rows = rows_of(scene);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].communicator, "world");
  EXPECT_EQ(rows[0].sequence, 5u);
  EXPECT_EQ(rows[0].operation, "all_reduce(sum, Float, 64 elements)");
  EXPECT_THAT(rows[0].came, ElementsAre(0, 1, 2));
  EXPECT_EQ(rows[0].first_start_ns, Scene::ns(10));
  EXPECT_EQ(rows[0].skew_ns, Scene::ns(1.5));
  EXPECT_EQ(rows[0].last_rank, 1);
  EXPECT_EQ(rows[0].late_ns, Scene::ns(1.0));
  EXPECT_EQ(rows[0].took_ns, Scene::ns(0.5));
  EXPECT_TRUE(rows[0].is_whole);
}

// One number means another communicator on each rank.
TEST(FlightTimelineTest, CommunicatorsWithoutAnEntryAreTheirRanksAlone) {
  Scene scene(2);
  for (const int rank : {0, 1}) scene.ended(rank, 3, kBarrier, 1 + rank, 4, 60);
  const auto rows = rows_of(scene);
  ASSERT_EQ(rows.size(), 2u);
  for (const int rank : {0, 1}) {
    const TimelineRow& row = rows[static_cast<std::size_t>(rank)];
    EXPECT_EQ(row.communicator, "60 of rank " + std::to_string(rank));
    EXPECT_THAT(row.came, ElementsAre(rank));
    EXPECT_FALSE(row.is_whole);
  }
}

TEST(FlightTimelineTest, RowsAreInTheOrderOfTheirStarts) {
  Scene scene(2);
  for (const int rank : {0, 1}) {
    scene.rank(rank).log.communicators.push_back({1, rank, 2, "pair"});
    scene.ended(rank, 1, kBarrier, 3, 4);
    scene.ended(rank, 0, kSum, 2, 2.5, 1);
    scene.ended(rank, 0, kBarrier, 1, 2);
  }
  scene.queued(0, 2, kSum);  // nobody has begun it
  const auto rows = rows_of(scene);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].communicator, "world");
  EXPECT_EQ(rows[1].communicator, "pair");
  EXPECT_EQ(rows[2].sequence, 1u);
}

TEST(FlightTimelineTest, UnendedAndFailedOperationsHaveNoDuration) {
  Scene scene(3);
  scene.in(0, 5, kSum, 10);
  scene.gave_up(1, 5, kSum, 10, 12);
  const auto rows = rows_of(scene);
  EXPECT_THAT(rows[0].waiting, ElementsAre(0));
  EXPECT_THAT(rows[0].failed, ElementsAre(1));
  EXPECT_EQ(rows[0].took_ns, 0);
  EXPECT_FALSE(rows[0].is_whole) << "rank 2 did not come";
}

TEST(FlightTimelineTest, TransfersAreRowsOfTheirRank) {
  Scene scene(2);
  scene.ended(0, 3, {"send", "Float", 5, "", FlightPeer::kTo, 1}, 1, 2);
  scene.ended(1, 8, {"recv", "Float", 5, "", FlightPeer::kFrom, 0}, 1.5, 2);
  const auto rows = rows_of(scene);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_FALSE(rows[0].is_collective);
  EXPECT_THAT(rows[0].came, ElementsAre(0));
  EXPECT_THAT(rows[1].came, ElementsAre(1));
  EXPECT_THAT(measure_lateness(rows), IsEmpty());
}

/// `operations` a second apart, of which `late_rank` comes late to each by `late` seconds.
Scene scene_with_straggler(int world_size, int operations, int late_rank, double late) {
  Scene scene(world_size);
  for (int i = 0; i < operations; ++i) {
    for (int rank = 0; rank < world_size; ++rank) {
      const double start = i + 1 + (rank == late_rank ? late : 0.001 * rank);
      scene.ended(rank, static_cast<std::uint64_t>(i), kSum, start, i + 1.9);
    }
  }
  return scene;
}

TEST(FlightTimelineTest, LatenessIsWhatTheLastRankAloneCosts) {
  const auto lateness = measure_lateness(rows_of(scene_with_straggler(3, 20, 1, 0.252)));
  ASSERT_EQ(lateness.size(), 3u);
  for (const Lateness& one : lateness) {
    EXPECT_EQ(one.operations, 20);
    EXPECT_EQ(one.times_last, one.rank == 1 ? 20 : 0);
  }
  EXPECT_NEAR(static_cast<double>(lateness[1].median_ns), 0.25e9, 10);  // behind rank 2
  EXPECT_NEAR(static_cast<double>(lateness[1].most_ns), 0.25e9, 10);
  EXPECT_NEAR(static_cast<double>(lateness[1].total_ns), 20 * 0.25e9, 200);
}

TEST(FlightTimelineTest, AStragglerIsNamedWhoeverItIs) {
  for (int world_size = 2; world_size <= 5; ++world_size) {
    for (int rank = 0; rank < world_size; ++rank) {
      const auto rows = rows_of(scene_with_straggler(world_size, 50, rank, 0.5));
      const auto named = name_stragglers(rows, measure_lateness(rows));
      ASSERT_EQ(named.size(), 1u);
      EXPECT_THAT(named[0], ::testing::StartsWith("rank " + std::to_string(rank) +
                                                  " came last in 50 of 50 operations"));
    }
  }
}

TEST(FlightTimelineTest, CheapOrSharedLatenessIsNobodysFault) {
  const auto cheap = rows_of(scene_with_straggler(3, 50, 1, 0.01));
  EXPECT_THAT(name_stragglers(cheap, measure_lateness(cheap)), IsEmpty());
  Scene shared(3);
  for (int i = 0; i < 60; ++i) {
    for (int rank = 0; rank < 3; ++rank) {
      shared.ended(rank, static_cast<std::uint64_t>(i), kSum, i + 1 + (rank == i % 3 ? 0.5 : 0),
                   i + 1.9);
    }
  }
  const auto rows = rows_of(shared);
  EXPECT_THAT(name_stragglers(rows, measure_lateness(rows)), IsEmpty());
}

}  // namespace
}  // namespace muster::launcher::testing
