// The message about a failure: all of it, once.
#include "announcement.h"

#include <gtest/gtest.h>

#include <csignal>
#include <vector>

namespace muster::launcher {
namespace {

Decision restart_with(int world_size) {
  Decision decision;
  decision.action = Action::kRestart;
  decision.reason = "restart 1 of 3";
  decision.next.world_size = world_size;
  return decision;
}

TEST(AnnouncementTest, ACrashNamesRankSignalStepLogAndWhatIsNext) {
  std::vector<RankReport> reports(2);
  reports[1].rank = 1;
  reports[1].wait_status = SIGKILL;
  EXPECT_EQ(
      failure_text(
          {&reports[1], reports, 120, "logs/rank-1.log", "one\ntwo", restart_with(1), 2, {}}),
      "rank 1 of 2 was killed by SIGKILL (Killed) after step 120\n"
      "  | one\n"
      "  | two\n"
      "  log:  logs/rank-1.log\n"
      "  next: starting again with 1 rank (restart 1 of 3); the program goes on from its newest "
      "checkpoint");
}

TEST(AnnouncementTest, AnErrorOfAllIsToldByOne) {
  std::vector<RankReport> reports(3);
  for (int rank = 0; rank < 3; ++rank) {
    reports[static_cast<std::size_t>(rank)].rank = rank;
    reports[static_cast<std::size_t>(rank)].failure = Failure{64, "ConfigError", "no such flag", 0};
  }
  Decision decision;
  decision.exit_code = 64;
  decision.reason = "the same would happen again";
  EXPECT_EQ(failure_text({&reports[2], reports, 0, "logs/rank-2.log", "", decision, 3, {}}),
            "rank 2 of 3 failed with ConfigError: no such flag (the same on 2 other ranks)\n"
            "  log:  logs/rank-2.log\n"
            "  next: not started again: the same would happen again; exit code 64");
}

TEST(AnnouncementTest, AHangSaysWhoWasMissingAndWhatTellsMore) {
  std::vector<RankReport> reports(1);
  reports[0].failure = Failure{75, "Timeout", "all_reduce(): rank 1 did not come", 7};
  FailureFacts facts{&reports[0], reports, 7, "logs/rank-0.log", "", restart_with(2), 2, {}};
  facts.post_mortem = {"operation 5 barrier(): rank 1 never came", "muster flight logs"};
  EXPECT_EQ(failure_text(facts),
            "rank 0 of 2 failed with Timeout after step 7: all_reduce(): rank 1 did not come\n"
            "  hang: operation 5 barrier(): rank 1 never came\n"
            "  log:  logs/rank-0.log\n"
            "  more: muster flight logs\n"
            "  next: starting again with 2 ranks (restart 1 of 3); the program goes on from its "
            "newest checkpoint");
}

TEST(AnnouncementTest, TheRanksOwnStepIsTrustedWhenItIsNewer) {
  std::vector<RankReport> reports(1);
  reports[0].failure = Failure{1, "UserError", "bad", 7};
  Decision decision;
  decision.exit_code = 1;
  decision.reason = "r";
  const std::string text = failure_text({&reports[0], reports, 5, "l", "", decision, 1, {}});
  EXPECT_EQ(text.substr(0, text.find('\n')), "rank 0 of 1 failed with UserError after step 7: bad");
}

}  // namespace
}  // namespace muster::launcher
