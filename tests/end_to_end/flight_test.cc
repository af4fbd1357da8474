// `muster flight` beside a job that hangs, and after jobs that died.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "job.h"

namespace muster::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kFlightRanks = 3;

/// line_fit, of which `victim` raises `signal` at its fourth step.
std::vector<std::string> options(int victim, int signal, const std::string& timeout_s) {
  return {"--throw-at-step", "4",
          "--throw-on-rank", std::to_string(victim),
          "--signal",        std::to_string(signal),
          "--timeout",       timeout_s,
          "--logical-ranks", std::to_string(kFlightRanks)};
}

struct FlightResult {
  int exit_code = -1;
  Json json;
};

FlightResult flight(const std::filesystem::path& directory) {
  const ScratchDirectory scratch;
  const ProgramResult result =
      Program({std::string(MUSTER_BIN_DIR) + "/muster", "flight", "--json", directory.string()},
              scratch.path())
          .wait(std::chrono::seconds(60));
  return {result.exit_code, Json::parse(result.out, nullptr, /*allow_exceptions=*/false)};
}

std::vector<int> all_but(int one) {
  std::vector<int> ranks;
  for (int rank = 0; rank < kFlightRanks; ++rank) {
    if (rank != one) ranks.push_back(rank);
  }
  return ranks;
}

std::string never_came(int rank) {
  return "rank " + std::to_string(rank) + " never came, its last";
}

TEST(Flight, NamesAStoppedRankWhileTheJobHangsAndOrderOnceItHasGoneOn) {
  constexpr int kVictim = 2;
  Job job(MUSTER_LINE_FIT, options(kVictim, SIGSTOP, "120"));
  const auto program = job.start(kFlightRanks);
  FlightResult seen;
  ASSERT_TRUE(wait_until(
      [&] {
        seen = flight(job.directory() / "logs");
        return seen.json.is_object() && seen.json["state"] == "hangs";
      },
      std::chrono::seconds(60)))
      << seen.json.dump(2);
  EXPECT_EQ(seen.exit_code, 1);
  const Json finding = seen.json["findings"][0];
  EXPECT_EQ(finding["absent"], Json::array({kVictim}));
  EXPECT_EQ(finding["waiting"], Json(all_but(kVictim)));
  EXPECT_THAT(finding["operation"].get<std::string>(), StartsWith("canonical_all_reduce("));
  EXPECT_EQ(seen.json["ranks"][kVictim]["process"], "stopped");
  const std::string pid = std::to_string(job.rank_pid(kVictim));
  EXPECT_THAT(seen.json["verdict"].get<std::string>(),
              ContainsRegex("operation [0-9]+ canonical_all_reduce\\(.*\\): ranks 0, 1 wait since "
                            "[0-9.]+ s; rank 2 \\(process " +
                            pid +
                            " is stopped\\) never came, its last was operation [0-9]+ .*, "
                            "ended [0-9.]+ s ago"));
  EXPECT_TRUE(job.signal_rank(kVictim, SIGCONT));
  const ProgramResult result = program->wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  seen = flight(job.directory() / "logs");
  EXPECT_EQ(seen.exit_code, 0);
  EXPECT_EQ(seen.json["state"], "ended in order");
}

TEST(Flight, TheLauncherTellsTheVerdictOfATimeout) {
  for (const int victim : {0, 1}) {
    Job job(MUSTER_LINE_FIT, options(victim, SIGSTOP, "1"));
    const ProgramResult result = job.run(kFlightRanks, {"--max-restarts", "0"});
    EXPECT_EQ(result.exit_code, 75) << result.err;
    EXPECT_THAT(result.err, ContainsRegex("  hang: operation [0-9]+ canonical_all_reduce\\(.*; " +
                                          never_came(victim)));
    const auto records = job.directory() / "logs" / "generation-000";
    EXPECT_THAT(result.err, HasSubstr("  more: muster flight " + records.string() + "\n"));
    const FlightResult after = flight(records);
    EXPECT_EQ(after.exit_code, 1);
    EXPECT_EQ(after.json["state"], "died");
    EXPECT_EQ(after.json["findings"][0]["absent"], Json::array({victim}));
    EXPECT_THAT(result.err, HasSubstr(after.json["verdict"].get<std::string>()));
  }
}

TEST(Flight, NamesAKilledRank) {
  for (const int victim : {0, 2}) {
    Job job(MUSTER_LINE_FIT, options(victim, SIGKILL, "120"));
    const ProgramResult result = job.run(kFlightRanks, {"--max-restarts", "0"});
    EXPECT_EQ(result.exit_code, 75) << result.err;
    EXPECT_THAT(result.err, HasSubstr("  more: muster flight "));
    const FlightResult after = flight(job.directory() / "logs");
    EXPECT_EQ(after.exit_code, 1);
    EXPECT_EQ(after.json["state"], "died");
    // A survivor that was not yet in an operation when the launcher ended the generation is missing
    // from it too.
    const std::string verdict = after.json["verdict"];
    const std::string last = "never came, (its|their) last was operation [0-9]+ ";
    EXPECT_THAT(verdict, ContainsRegex(last));
    EXPECT_THAT(after.json["findings"][0]["absent"], ::testing::Contains(victim)) << verdict;
  }
}

TEST(Flight, IsRecordedUnderMpirun) {
  constexpr int kVictim = 1;
  for (const char* transport : {"shm", "mpi"}) {
    const ScratchDirectory directory;
    std::vector<std::string> words = mpirun(kFlightRanks, {"--with-ft", "ulfm"});
    words.insert(words.end(), {MUSTER_PEER_LOSS, transport, std::to_string(kVictim)});
    Program(words, directory.path(),
            {{"MUSTER_FLIGHT_DIR", (directory.path() / "flight").string()}})
        .wait(std::chrono::seconds(60));
    const FlightResult after = flight(directory.path() / "flight");
    EXPECT_EQ(after.exit_code, 1);
    EXPECT_EQ(after.json["state"], "died");
    EXPECT_NE(after.json["run_id"], "");
    const Json finding = after.json["findings"][0];
    EXPECT_THAT(finding["operation"].get<std::string>(), StartsWith("all_reduce(sum, "));
    EXPECT_EQ(finding["absent"], Json::array({kVictim})) << after.json.dump(2);
    EXPECT_EQ(finding["failed"], Json(all_but(kVictim)));
  }
}

}  // namespace
}  // namespace muster::testing
