// Which operation, who waits, who is missing: of records made up by value.
#include <gmock/gmock.h>

#include "flight/verdict.h"
#include "launcher/flight_scene.h"

namespace muster::launcher::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<int> all_but(int world_size, int one) {
  std::vector<int> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    if (rank != one) ranks.push_back(rank);
  }
  return ranks;
}

TEST(FlightVerdictTest, ARankThatNeverComesIsNamed) {
  Scene scene(4);
  for (int rank = 0; rank < 4; ++rank) scene.ended(rank, 1233, kBarrier, 9, rank == 2 ? 9.5 : 9.6);
  for (const int rank : {0, 1, 3}) scene.in(rank, 1234, kSum, 9.6 + 0.01 * rank);
  const Verdict verdict = judge(scene.evidence(21.9));
  EXPECT_EQ(verdict.state, JobState::kHangs);
  EXPECT_EQ(verdict.sentence,
            "operation 1234 all_reduce(sum, Float, 64 elements): ranks 0, 1, 3 wait since 12.3 s; "
            "rank 2 never came, its last was operation 1233 barrier(), ended 12.4 s ago");
  ASSERT_EQ(verdict.findings.size(), 1u);
  EXPECT_EQ(verdict.findings[0].waited_ns, Scene::ns(12.3));
}

// Every world size, every missing rank, every way to be missing.
TEST(FlightVerdictTest, NamesTheMissingRankOfEverySmallWorld) {
  for (int world_size = 2; world_size <= 5; ++world_size) {
    for (int missing = 0; missing < world_size; ++missing) {
      for (const bool is_over : {false, true}) {
        for (const std::uint64_t sequence : {std::uint64_t{1}, std::uint64_t{5000}}) {
          Scene scene(world_size);
          for (int rank = 0; rank < world_size; ++rank) {
            scene.ended(rank, sequence - 1, kBarrier, 1, 2);
            if (rank == missing) continue;
            if (is_over) {
              scene.gave_up(rank, sequence, kSum, 2, 7);
            } else {
              scene.in(rank, sequence, kSum, 2);
            }
          }
          if (is_over) scene.all_gone();
          const Verdict verdict = judge(scene.evidence(is_over ? 7 : 12));
          SCOPED_TRACE(verdict.sentence);
          EXPECT_EQ(verdict.state, is_over ? JobState::kDied : JobState::kHangs);
          ASSERT_EQ(verdict.findings.size(), 1u);
          const Finding& finding = verdict.findings[0];
          EXPECT_EQ(finding.sequence, sequence);
          EXPECT_EQ(finding.communicator, "world");
          EXPECT_EQ(finding.operation, "all_reduce(sum, Float, 64 elements)");
          EXPECT_THAT(finding.absent, ElementsAre(missing));
          EXPECT_EQ(is_over ? finding.failed : finding.waiting, all_but(world_size, missing));
          EXPECT_EQ(finding.waited_ns, Scene::ns(is_over ? 5 : 10));
          const std::string last = "rank " + std::to_string(missing) +
                                   " never came, its last was operation " +
                                   std::to_string(sequence - 1) + " barrier(), ended " +
                                   (is_over ? "5.0 s before the end" : "10.0 s ago");
          EXPECT_THAT(verdict.sentence, HasSubstr(last));
        }
      }
    }
  }
}

TEST(FlightVerdictTest, OfAChainOfWaitsTheFirstIsTold) {
  // A broadcast's root goes on without its receivers, so ranks wait in different operations.
  Scene scene(3);
  for (int rank = 0; rank < 3; ++rank) scene.ended(rank, 6, kBarrier, 1, 2);
  const Call broadcast{"broadcast", "Float", 8, "", FlightPeer::kRoot, 0};
  scene.ended(0, 7, broadcast, 3, 3.5);
  scene.in(1, 7, broadcast, 3);
  scene.in(0, 8, kBarrier, 4);
  const Verdict verdict = judge(scene.evidence(20));
  EXPECT_EQ(verdict.findings[0].sequence, 7u);
  EXPECT_THAT(verdict.findings[0].waiting, ElementsAre(1));
  EXPECT_THAT(verdict.findings[0].absent, ElementsAre(2));
  EXPECT_THAT(verdict.sentence, HasSubstr("broadcast(Float, 8 elements, root 0): rank 1 waits"));
}

TEST(FlightVerdictTest, ARankThatStandsInAnEarlierOperationIsMissingFromTheLaterOne) {
  // All have come to operation 7; rank 2 was stopped before it was out of it.
  Scene scene(3);
  scene.ended(0, 7, kSum, 3, 3.5);
  scene.ended(1, 7, kSum, 3, 3.5);
  scene.in(2, 7, kSum, 3.1);
  scene.rank(2).process = ProcessState::kStopped;
  scene.in(0, 8, kBarrier, 4);
  scene.in(1, 8, kBarrier, 4.5);
  const Verdict verdict = judge(scene.evidence(20));
  EXPECT_EQ(verdict.sentence,
            "operation 8 barrier(): ranks 0, 1 wait since 16.0 s; rank 2 (process 102 is stopped) "
            "never came: it is still in operation 7 all_reduce(sum, Float, 64 elements), since "
            "16.9 s");
}

TEST(FlightVerdictTest, AllCameAndOneIsStoppedInside) {
  Scene scene(3);
  for (int rank = 0; rank < 3; ++rank) scene.in(rank, 7, kSum, 3);
  scene.rank(1).process = ProcessState::kStopped;
  const Verdict verdict = judge(scene.evidence(5));
  EXPECT_EQ(verdict.state, JobState::kHangs);
  EXPECT_EQ(verdict.sentence,
            "operation 7 all_reduce(sum, Float, 64 elements): ranks 0, 2 wait since 2.0 s; rank 1 "
            "is stopped in it");
  EXPECT_THAT(verdict.findings[0].ended_inside, ElementsAre(1));
}

TEST(FlightVerdictTest, AllCameAndOneDiedInside) {
  Scene scene(3);
  scene.gave_up(0, 7, kSum, 3, 3.002);
  scene.ended(1, 7, kSum, 3, 3.001);
  scene.in(2, 7, kSum, 3);
  scene.all_gone();
  const Verdict verdict = judge(scene.evidence(3.01));
  EXPECT_EQ(verdict.state, JobState::kDied);
  EXPECT_EQ(verdict.sentence,
            "operation 7 all_reduce(sum, Float, 64 elements): rank 0 gave up after 2.0 ms; rank 2 "
            "was in it when its process ended; rank 1 ended it");
}

TEST(FlightVerdictTest, AKilledRankAmongLivingOnesIsGone) {
  Scene scene(2);
  scene.ended(1, 0, kBarrier, 1, 2);
  scene.ended(0, 0, kBarrier, 1, 2);
  scene.in(0, 1, kBarrier, 3);
  scene.rank(1).process = ProcessState::kGone;
  const Verdict verdict = judge(scene.evidence(3.5));
  EXPECT_EQ(verdict.state, JobState::kDied) << "at once, not after a time of patience";
  EXPECT_THAT(verdict.sentence, HasSubstr("rank 1 (process 101 is gone) never came"));
}

TEST(FlightVerdictTest, AnotherCallIsToldByName) {
  Scene scene(3);
  const Call broadcast{"broadcast", "Float", 64, "", FlightPeer::kRoot, 1};
  for (const int rank : {0, 2}) scene.gave_up(rank, 4, kSum, 3, 3.25);
  scene.gave_up(1, 4, broadcast, 3, 3.25);
  scene.all_gone();
  const Verdict verdict = judge(scene.evidence(4));
  EXPECT_EQ(verdict.sentence,
            "operation 4 all_reduce(sum, Float, 64 elements): ranks 0, 2 gave up after 250.0 ms; "
            "rank 1 called broadcast(Float, 64 elements, root 1)");
  EXPECT_THAT(verdict.findings[0].disagreeing, ElementsAre(1));
  EXPECT_THAT(verdict.findings[0].failed, ElementsAre(0, 2));
}

TEST(FlightVerdictTest, AnotherShapeIsAnotherCall) {
  Scene scene(2);
  Call longer = kSum;
  longer.elements = 65;
  scene.gave_up(0, 4, kSum, 3, 3.25);
  scene.gave_up(1, 4, longer, 3, 3.25);
  EXPECT_THAT(judge(scene.evidence(4)).sentence,
              HasSubstr("rank 1 called all_reduce(sum, Float, 65 elements)"));
}

TEST(FlightVerdictTest, HowMissingRanksLeftIsTold) {
  Scene scene(6);
  scene.gave_up(0, 3, kBarrier, 9, 10);
  scene.ended(1, 2, kSum, 5, 6);
  scene.has_left(1, FlightEnd::kLeft, 7);
  scene.ended(2, 2, kSum, 5, 6);
  scene.has_left(2, FlightEnd::kFailed, 8);
  scene.lose_record(3);
  scene.gave_up(4, 2, kSum, 5, 9);
  scene.has_left(4, FlightEnd::kFailed, 9.5);
  scene.queued(5, 3, kBarrier);
  scene.all_gone();
  const std::string sentence = judge(scene.evidence(10)).sentence;
  // Rank 4 waited in vain before rank 0 did: that operation is the cause.
  EXPECT_THAT(sentence, HasSubstr("operation 2 all_reduce"));
  Scene later = scene;
  later.rank(4).log.operations[0].state = FlightState::kEnded;
  later.rank(4).log.end = FlightEnd::kOpen;
  EXPECT_EQ(judge(later.evidence(10)).sentence,
            "operation 3 barrier(): rank 0 gave up after 1.0 s; rank 1 never came: it had left in "
            "order 3.0 s before the end; rank 2 never came: it had left because of an error 2.0 s "
            "before the end; rank 3 left no record; rank 4 never came, its last was operation 2 "
            "all_reduce(sum, Float, 64 elements), ended 1.0 s before the end; rank 5 never came, "
            "and called nothing before");
}

TEST(FlightVerdictTest, ManyMissingRanksShareAClause) {
  Scene scene(256);
  for (int rank = 0; rank < 256; ++rank) scene.ended(rank, 8, kBarrier, 1, 1 + 0.001 * rank);
  scene.in(17, 9, kSum, 3);
  const std::string sentence = judge(scene.evidence(11)).sentence;
  EXPECT_EQ(sentence,
            "operation 9 all_reduce(sum, Float, 64 elements): rank 17 waits since 8.0 s; ranks "
            "0-16, 18-255 never came, their last was operation 8 barrier(), ended 9.7 s ago");
}

TEST(FlightVerdictTest, ASentenceStaysReadable) {
  Scene scene(100);
  for (int rank = 1; rank < 100; ++rank) {
    scene.ended(rank, static_cast<std::uint64_t>(rank), kBarrier, 1, 2);
  }
  scene.in(0, 1000, kSum, 3);
  const std::string sentence = judge(scene.evidence(11)).sentence;
  EXPECT_LT(sentence.size(), 800u);
  EXPECT_THAT(sentence, HasSubstr("; and 93 ranks more"));
}

TEST(FlightVerdictTest, OverwrittenRecordsAreNotMissingRanks) {
  // Rank 1 is thousands of operations ahead on the world of a broadcast's root.
  Scene scene(2);
  scene.in(0, 7, kSum, 3);
  scene.in(1, 5000, kBarrier, 4);
  const Verdict verdict = judge(scene.evidence(10));
  EXPECT_EQ(verdict.findings[0].sequence, 5000u);
  EXPECT_THAT(verdict.findings[0].absent, ElementsAre(0));
  EXPECT_THAT(verdict.sentence, HasSubstr("it is still in operation 7 all_reduce"));
}

TEST(FlightVerdictTest, AJobThatEndedInOrderIsToldAsSuch) {
  Scene scene(3);
  for (int rank = 0; rank < 3; ++rank) {
    scene.ended(rank, 41, kLeave, 1, 2);
    scene.has_left(rank, FlightEnd::kLeft, 3);
  }
  const Verdict verdict = judge(scene.evidence(3));
  EXPECT_EQ(verdict.state, JobState::kEndedInOrder);
  EXPECT_EQ(verdict.sentence,
            "ranks 0-2 left in order; the newest is operation 41 leave(), begun 2.0 s "
            "before the end");
  EXPECT_THAT(verdict.findings, IsEmpty());
}

TEST(FlightVerdictTest, AnOperationThatNobodyWaitedForDoesNotSpoilTheOrder) {
  Scene scene(2);
  for (int rank = 0; rank < 2; ++rank) {
    scene.gave_up(rank, 1, kSum, 1, 2);  // abandoned when the communicator was destroyed
    scene.has_left(rank, FlightEnd::kLeft, 3);
  }
  EXPECT_EQ(judge(scene.evidence(3)).state, JobState::kEndedInOrder);
}

TEST(FlightVerdictTest, AShortWaitIsNoHang) {
  for (const double wait : {0.0, 0.5, 0.999}) {
    Scene scene(2);
    scene.ended(0, 0, kBarrier, 1, 2);
    scene.ended(1, 0, kBarrier, 1, 2);
    scene.in(0, 1, kSum, 3);
    const Verdict verdict = judge(scene.evidence(3 + wait));
    EXPECT_EQ(verdict.state, JobState::kRuns) << wait;
    EXPECT_THAT(verdict.sentence, HasSubstr("the newest is operation 1 all_reduce"));
    EXPECT_THAT(verdict.findings, IsEmpty());
  }
}

TEST(FlightVerdictTest, RanksThatComputeRun) {
  Scene scene(2);
  scene.ended(0, 0, kBarrier, 1, 2);
  scene.ended(1, 0, kBarrier, 1, 2);
  EXPECT_EQ(judge(scene.evidence(100)).state, JobState::kRuns);
  EXPECT_EQ(judge(Scene(2).evidence(100)).sentence, "no operation was begun");
}

TEST(FlightVerdictTest, ADeathOutsideOfOperations) {
  Scene scene(3);
  for (int rank = 0; rank < 3; ++rank) scene.ended(rank, 5, kBarrier, 1, 2);
  scene.has_left(1, FlightEnd::kFailed, 3);
  scene.all_gone();
  const Verdict verdict = judge(scene.evidence(3));
  EXPECT_EQ(verdict.state, JobState::kDied);
  EXPECT_EQ(verdict.sentence,
            "no rank was in an operation; rank 1 left because of an error; ranks 0, 2 ended "
            "without a word; the newest is operation 5 barrier(), begun 2.0 s before the "
            "end");
}

TEST(FlightVerdictTest, WhatRanOnOtherMachinesIsUnknown) {
  Scene scene(2);
  scene.in(0, 5, kBarrier, 1);
  for (const int rank : {0, 1}) scene.rank(rank).process = ProcessState::kUnknown;
  scene.ended(1, 4, kBarrier, 0.5, 0.75);
  const Verdict verdict = judge(scene.evidence(1));
  EXPECT_EQ(verdict.state, JobState::kUnknown);
  EXPECT_THAT(verdict.sentence,
              HasSubstr("rank 0 was in it at the last record; rank 1 never came"));
}

class SplitWorld : public ::testing::Test {
 protected:
  // Ranks 0, 1 form "left", ranks 2, 3 form "right", both as their second communicator.
  SplitWorld() {
    for (int rank = 0; rank < 4; ++rank) {
      scene_.rank(rank).log.communicators.push_back({1, rank % 2, 2, rank < 2 ? "left" : "right"});
    }
  }

  Scene scene_{4};
};

TEST_F(SplitWorld, PartsWithTheSameIdAreToldApart) {
  for (int rank = 0; rank < 4; ++rank) scene_.ended(rank, 0, kSum, 1, 2, 1);
  scene_.in(3, 1, kSum, 3, 1);
  const Verdict verdict = judge(scene_.evidence(9));
  EXPECT_EQ(verdict.sentence,
            "operation 1 all_reduce(sum, Float, 64 elements) of communicator right: rank 3 waits "
            "since 6.0 s; rank 2 never came, its last was operation 0 all_reduce(sum, Float, 64 "
            "elements) of communicator right, ended 7.0 s ago");
  EXPECT_EQ(verdict.findings[0].communicator, "right");
}

TEST_F(SplitWorld, TheCauseIsTheWaitWhoseMissingRankDoesNotWait) {
  // The root of the world's broadcast has gone on, and is awaited in "left": by the rank for which
  // the others wait in the broadcast, since longer ago.
  const Call broadcast{"broadcast", "Float", 8, "", FlightPeer::kRoot, 1};
  scene_.ended(1, 7, broadcast, 2, 2.5);
  scene_.in(2, 7, broadcast, 2);
  scene_.in(3, 7, broadcast, 2);
  scene_.in(0, 3, kSum, 4, 1);
  const Verdict verdict = judge(scene_.evidence(9));
  ASSERT_EQ(verdict.findings.size(), 2u);
  EXPECT_EQ(verdict.findings[0].communicator, "left");
  EXPECT_THAT(verdict.findings[0].absent, ElementsAre(1));
  EXPECT_EQ(verdict.sentence, verdict.findings[0].sentence);
  EXPECT_THAT(verdict.findings[1].sentence,
              HasSubstr("rank 0 never came: it is still in operation 3 all_reduce(sum, Float, 64 "
                        "elements) of communicator left, since 5.0 s"));
}

TEST_F(SplitWorld, RanksThatWaitForEachOtherInTwoCommunicators) {
  for (const int rank : {0, 2, 3}) scene_.in(rank, 7, kBarrier, 2);
  scene_.in(1, 3, kSum, 4, 1);
  const Verdict verdict = judge(scene_.evidence(9));
  ASSERT_EQ(verdict.findings.size(), 2u);
  EXPECT_THAT(verdict.sentence, HasSubstr("ranks wait for each other: operation 7 barrier(): "));
  EXPECT_THAT(verdict.sentence, HasSubstr(". And operation 3 all_reduce"));
}

TEST_F(SplitWorld, AMemberWithoutARecordIsCounted) {
  scene_.lose_record(2);
  scene_.in(3, 4, kSum, 5, 1);
  EXPECT_THAT(judge(scene_.evidence(9)).sentence, HasSubstr("1 rank of it has no record"));
}

Call send_to(int peer) { return {"send", "Float", 5, "", FlightPeer::kTo, peer}; }
Call recv_from(int peer) { return {"recv", "Float", 5, "", FlightPeer::kFrom, peer}; }

TEST(FlightTransferTest, AReceiverThatNeverComesIsNamed) {
  Scene scene(3);
  for (int rank = 0; rank < 3; ++rank) scene.ended(rank, 5, kBarrier, 1, 2);
  scene.in(0, 0, send_to(2), 3);
  const Verdict verdict = judge(scene.evidence(13));
  EXPECT_EQ(verdict.sentence,
            "send(Float, 5 elements, to rank 2): rank 0 waits since 10.0 s; rank 2 never came, its "
            "last was operation 5 barrier(), ended 11.0 s ago");
  EXPECT_THAT(verdict.findings[0].absent, ElementsAre(2));
}

TEST(FlightTransferTest, BothSidesAreToldOnce) {
  Scene scene(2);
  scene.in(0, 0, send_to(1), 3);
  scene.in(1, 9, recv_from(0), 3);
  scene.rank(1).process = ProcessState::kStopped;
  const Verdict verdict = judge(scene.evidence(13));
  ASSERT_EQ(verdict.findings.size(), 1u);
  EXPECT_EQ(verdict.sentence,
            "send(Float, 5 elements, to rank 1): rank 0 waits since 10.0 s; rank 1 is stopped in "
            "it");
}

TEST(FlightTransferTest, TwoSendersWaitForEachOther) {
  Scene scene(2);
  scene.in(0, 0, send_to(1), 3);
  scene.in(1, 0, send_to(0), 3);
  const Verdict verdict = judge(scene.evidence(13));
  EXPECT_THAT(verdict.sentence, HasSubstr("ranks wait for each other: send(Float, 5 elements, to "
                                          "rank 1): rank 0 waits since 10.0 s; rank 1 never came: "
                                          "it is still in send(Float, 5 elements, to rank 0)"));
}

TEST(FlightTransferTest, ATransferIsWhatKeepsARankFromACollective) {
  Scene scene(3);
  for (const int rank : {0, 1}) scene.in(rank, 6, kBarrier, 3);
  scene.in(2, 0, recv_from(0), 4);
  const Verdict verdict = judge(scene.evidence(13));
  EXPECT_EQ(verdict.findings.size(), 2u);
  EXPECT_THAT(verdict.sentence, HasSubstr("rank 2 never came: it is still in recv(Float, 5 "
                                          "elements, from rank 0), since 9.0 s"));
}

}  // namespace
}  // namespace muster::launcher::testing
