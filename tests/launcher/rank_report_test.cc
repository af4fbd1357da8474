// Which end is which, and which rank's end is the cause.
#include "rank_report.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>

namespace muster::launcher {
namespace {

using ::testing::HasSubstr;

constexpr int exited(int code) { return code << 8; }  // as wait(2) encodes it
constexpr int signaled(int signal) { return signal; }

RankReport ended(int rank, int wait_status, int at_ms = 0) {
  RankReport report;
  report.rank = rank;
  report.wait_status = wait_status;
  report.news_time = TimePoint(std::chrono::milliseconds(1000 + at_ms));
  return report;
}

RankReport failed(int rank, int code, const std::string& kind, int at_ms) {
  RankReport report = ended(rank, exited(code), at_ms);
  report.failure = Failure{code, kind, "message", 3};
  return report;
}

TEST(RankReportTest, ExitCodesHaveTheirKinds) {
  for (const int code : {1, 64, 65, 70, 74, 76}) {
    EXPECT_EQ(end_kind(ended(0, exited(code))), EndKind::kError) << code;
    EXPECT_EQ(end_exit_code(ended(0, exited(code))), code);
  }
  for (const int code : {79, 130}) {
    EXPECT_EQ(end_kind(ended(0, exited(code))), EndKind::kStopped) << code;
    EXPECT_EQ(end_exit_code(ended(0, exited(code))), code);
  }
  EXPECT_EQ(end_kind(ended(0, exited(75))), EndKind::kPeerLost);
  for (const int code : {2, 3, 77, 126, 127, 134, 139, 255}) {
    EXPECT_EQ(end_kind(ended(0, exited(code))), EndKind::kCrashed) << code;
    EXPECT_EQ(end_exit_code(ended(0, exited(code))), 75);
  }
  for (const int signal : {SIGKILL, SIGSEGV, SIGABRT, SIGBUS, SIGTERM}) {
    EXPECT_EQ(end_kind(ended(0, signaled(signal))), EndKind::kCrashed) << signal;
  }
}

TEST(RankReportTest, ZeroIsSuccessOnlyWithDoneOrFromAStranger) {
  RankReport report = ended(0, exited(0));
  EXPECT_EQ(end_kind(report), EndKind::kDone);
  report.said_hello = true;
  EXPECT_EQ(end_kind(report), EndKind::kError);
  EXPECT_EQ(end_exit_code(report), 1);
  EXPECT_THAT(describe_end(report), HasSubstr("before its work was done"));
  report.said_done = true;
  EXPECT_EQ(end_kind(report), EndKind::kDone);
}

TEST(RankReportTest, DoneWithoutZeroIsNoSuccess) {
  RankReport report = ended(0, signaled(SIGSEGV));
  report.said_hello = report.said_done = true;
  EXPECT_EQ(end_kind(report), EndKind::kCrashed);
}

TEST(RankReportTest, ARanksOwnWordCountsMoreThanItsStatus) {
  RankReport report = failed(0, 64, "ConfigError", 0);
  report.wait_status = signaled(SIGABRT);
  EXPECT_EQ(end_kind(report), EndKind::kError);
  EXPECT_EQ(end_exit_code(report), 64);
  report.wait_status.reset();
  EXPECT_EQ(end_kind(report), EndKind::kError) << "even before the process is gone";
}

TEST(RankReportTest, OnlyOurSigkillIsOurs) {
  RankReport report = ended(0, signaled(SIGKILL));
  report.killed_by_launcher = true;
  EXPECT_EQ(end_kind(report), EndKind::kKilled);
  report.wait_status = signaled(SIGSEGV);
  EXPECT_EQ(end_kind(report), EndKind::kCrashed);
  report.wait_status = exited(64);
  EXPECT_EQ(end_kind(report), EndKind::kError);
}

TEST(RankReportTest, DescriptionsNameTheSignal) {
  EXPECT_THAT(describe_end(ended(0, signaled(SIGSEGV))), HasSubstr("SIGSEGV (Segmentation fault)"));
  EXPECT_THAT(describe_end(ended(0, exited(3))), HasSubstr("exit code 3"));
  EXPECT_THAT(describe_end(failed(0, 65, "DataError", 0)), HasSubstr("failed with DataError"));
}

// In whatever order the ranks are listed, the cause is the same.
int cause_of(std::vector<RankReport> reports) {
  std::sort(reports.begin(), reports.end(),
            [](const auto& a, const auto& b) { return a.rank < b.rank; });
  const RankReport* const cause = root_cause(reports);
  const int rank = cause == nullptr ? -1 : cause->rank;
  std::reverse(reports.begin(), reports.end());
  const RankReport* const again = root_cause(reports);
  EXPECT_EQ(again == nullptr ? -1 : again->rank, rank);
  return rank;
}

TEST(RootCauseTest, APeerLostIsNeverTheCauseWhileThereIsAnother) {
  // The survivors' word arrives first: a large victim takes longer to die than they to notice.
  EXPECT_EQ(cause_of({failed(0, 75, "PeerLost", 0), ended(1, signaled(SIGKILL), 150),
                      failed(2, 75, "PeerLost", 1)}),
            1);
  EXPECT_EQ(cause_of({failed(0, 75, "PeerLost", 0), failed(1, 1, "UserError", 5)}), 1);
  EXPECT_EQ(cause_of({failed(0, 75, "PeerLost", 0), failed(1, 75, "Timeout", 5)}), 1);
}

TEST(RootCauseTest, TheEarliestOfItsKind) {
  EXPECT_EQ(cause_of({failed(0, 64, "ConfigError", 9), failed(1, 64, "ConfigError", 3)}), 1);
  EXPECT_EQ(cause_of({ended(0, signaled(SIGABRT), 9), failed(1, 1, "UserError", 3)}), 1);
  EXPECT_EQ(cause_of({failed(0, 75, "PeerLost", 9), failed(1, 75, "PeerLost", 3)}), 1);
}

TEST(RootCauseTest, AnErrorExplainsATimeout) {
  EXPECT_EQ(cause_of({failed(0, 75, "Timeout", 0), ended(1, signaled(SIGKILL), 5)}), 1);
}

TEST(RootCauseTest, OurOwnVictimsAreNoCause) {
  RankReport victim = ended(0, signaled(SIGKILL), 0);
  victim.killed_by_launcher = true;
  EXPECT_EQ(cause_of({victim, ended(1, exited(3), 5)}), 1);
}

TEST(RootCauseTest, NoneWhereAllAreDone) {
  EXPECT_EQ(cause_of({ended(0, exited(0)), ended(1, exited(0))}), -1);
}

}  // namespace
}  // namespace muster::launcher
