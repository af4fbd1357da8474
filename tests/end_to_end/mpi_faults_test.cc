// Ranks that die, fall silent, leave or call something else, at every operation, over MPI on one
// host and between two: what the others are told, and how soon, and that they can go on. See
// programs/faults.cc, programs/part_faults.cc and programs/survivors.cc.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "collectives/large_victim.h"
#include "subprocess.h"
#include "two_hosts.h"

namespace muster::testing {
namespace {

struct Verdict {
  std::string title;
  bool right = false;
  std::string line;
};

// What the ranks wrote, by rank; nothing of a rank that wrote nothing.
std::map<int, std::vector<Verdict>> verdicts_in(const std::filesystem::path& directory,
                                                const std::vector<int>& ranks) {
  std::map<int, std::vector<Verdict>> all;
  for (const int rank : ranks) {
    std::ifstream file(directory / ("verdicts-" + std::to_string(rank)));
    for (std::string line; std::getline(file, line);) {
      std::istringstream fields(line);
      std::string word;
      Verdict verdict;
      std::getline(fields, word, '\t');
      if (word == "end") continue;
      std::getline(fields, verdict.title, '\t');
      verdict.right = word == "ok";
      verdict.line = "rank " + std::to_string(rank) + ": " + line;
      all[rank].push_back(verdict);
    }
  }
  return all;
}

// Every one of `ranks` is to have told the same `cases`, all of them right.
void expect_right(const std::filesystem::path& directory, const std::vector<int>& ranks,
                  std::size_t cases, const ProgramResult& result) {
  auto all = verdicts_in(directory, ranks);
  for (const int rank : ranks) {
    EXPECT_EQ(all[rank].size(), cases) << "rank " << rank << "\n" << result.out << result.err;
    for (const Verdict& verdict : all[rank]) EXPECT_TRUE(verdict.right) << verdict.line;
  }
}

bool all_right(const std::filesystem::path& directory, const std::vector<int>& ranks,
               std::size_t cases) {
  auto all = verdicts_in(directory, ranks);
  return std::all_of(ranks.begin(), ranks.end(), [&](int rank) {
    const std::vector<Verdict>& told = all[rank];
    return told.size() == cases &&
           std::all_of(told.begin(), told.end(), [](const Verdict& each) { return each.right; });
  });
}

/// Where the ranks run.
class Place {
 public:
  virtual ~Place() = default;
  /// mpirun with `options`, so many ranks of which some more than half on the first host.
  virtual ProgramResult mpirun(const std::string& options, int ranks,
                               const std::string& program) = 0;
};

class OneHost : public Place {
 public:
  ProgramResult mpirun(const std::string& options, int ranks, const std::string& program) override {
    const ScratchDirectory scratch;
    const std::string command = ". " MUSTER_SOURCE_DIR "/scripts/env && exec mpirun " + options +
                                " -n " + std::to_string(ranks) + " " + program;
    return Program({"bash", "-c", command}, scratch.path()).wait();
  }
};

class BetweenHosts : public Place {
 public:
  ProgramResult mpirun(const std::string& options, int ranks, const std::string& program) override {
    const int first = (ranks + 1) / 2;
    return hosts_.run("mpirun " + options + " " + TwoHosts::mpirun_words(first, ranks - first) +
                      " " + program);
  }

 private:
  const TwoHosts hosts_;
};

struct Where {
  const char* name;
  const char* transport;
  bool between_hosts;
};

void PrintTo(const Where& where, std::ostream* out) { *out << where.name; }

class MpiFaults : public ::testing::TestWithParam<Where> {
 protected:
  void SetUp() override {
    const std::string missing = GetParam().between_hosts ? TwoHosts::missing() : "";
    if (!missing.empty()) GTEST_SKIP() << missing;
    if (GetParam().between_hosts) {
      place_ = std::make_unique<BetweenHosts>();
    } else {
      place_ = std::make_unique<OneHost>();
    }
  }

  // Between hosts, on a machine with more to do than it can, ranks now and then do not find each
  // other in time when they join: then once more.
  ProgramResult run(const std::string& program, const std::string& options, int ranks,
                    const std::string& kind, const std::filesystem::path& directory,
                    const std::string& more = "") {
    const std::string command =
        program + " " + kind + " " + GetParam().transport + " " + directory.string() + more;
    ProgramResult result = place_->mpirun(options, ranks, command);
    const bool have_joined = !std::filesystem::is_empty(directory);
    if (have_joined || !GetParam().between_hosts) return result;
    std::cout << result.err << "starting again" << std::endl;
    return place_->mpirun(options, ranks, command);
  }

  struct Survival {
    const char* program;
    const char* kind;
    const char* options;
    int ranks;
    std::vector<int> survivors;
    std::size_t cases;
    const char* more = "";
  };
  void expect_told(const Survival& survival);

  struct Deaths {
    std::map<std::string, int> told;  // survivors that told right, by case
    int others_ended = 0;             // survivors that Open MPI ended along with a victim
  };
  Deaths run_deaths(const std::vector<std::string>& titles);

 private:
  std::unique_ptr<Place> place_;
};

bool names_survivor_as_dead(const Verdict& verdict) {
  const std::regex survivors("rank [02] \\([^)]*\\) died");
  return std::regex_search(verdict.line, survivors);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> death_cases() {
  const ScratchDirectory scratch;
  return lines_of(Program({MUSTER_FAULTS, "list"}, scratch.path()).wait().out);
}

// What a survivor says after the other was ended is not counted.
MpiFaults::Deaths MpiFaults::run_deaths(const std::vector<std::string>& titles) {
  Deaths deaths;
  const ScratchDirectory directory;
  std::string cases;
  for (const std::string& title : titles) cases += " '" + title + "'";
  const int last = static_cast<int>(titles.size()) + 1;
  const ProgramResult result =
      run(MUSTER_FAULTS, "--with-ft ulfm", last + 1, "death", directory.path(), cases);
  const auto all = verdicts_in(directory.path(), {0, last});
  if (all.empty()) std::cout << result.out << result.err;
  for (const auto& [rank, verdicts] : all) {
    for (const Verdict& verdict : verdicts) {
      if (GetParam().between_hosts && names_survivor_as_dead(verdict)) {
        std::cout << "ended along with a victim: " << verdict.line << "\n" << result.err;
        ++deaths.others_ended;
        break;
      }
      EXPECT_TRUE(verdict.right) << verdict.line;
      ++deaths.told[verdict.title];
    }
  }
  return deaths;
}

// Between hosts Open MPI 5.0 sometimes ends a living rank along with a dead one, once in a hundred
// deaths or so and whatever the transport, and many ranks sometimes do not find each other. So few
// are started at a time, and what was not told then is asked again. Of fewer than fifty deaths not
// one in a thousand runs sees more than this.
constexpr int kMostOthersEnded = 3;

TEST_P(MpiFaults, ADeathInAnyOperationIsToldAtOnce) {
  const bool between_hosts = GetParam().between_hosts;
  std::vector<std::string> left = death_cases();
  ASSERT_GT(left.size(), 40u);
  const std::size_t most = between_hosts ? 6 : 18;
  const std::size_t starts = (left.size() + most - 1) / most + (between_hosts ? 4 : 0);
  int others_ended = 0;
  for (std::size_t start = 0; start < starts && !left.empty(); ++start) {
    const std::size_t batch = std::min(most, left.size());
    Deaths deaths = run_deaths({left.begin(), left.begin() + static_cast<std::ptrdiff_t>(batch)});
    std::erase_if(left, [&](const std::string& title) { return deaths.told[title] == 2; });
    others_ended += deaths.others_ended;
  }
  std::cout << others_ended << " survivors were ended along with a victim" << std::endl;
  EXPECT_LE(others_ended, kMostOthersEnded);
  EXPECT_TRUE(left.empty()) << left.size() << " cases were not told, the first: " << left[0];
}

TEST_P(MpiFaults, TheDeathOfALargeProcessIsToldAtOnceToo) {
  const std::string missing = missing_memory();
  if (!missing.empty()) GTEST_SKIP() << missing;
  for (const char* operation : {" barrier", " all_reduce"}) {
    SCOPED_TRACE(operation);
    expect_told({MUSTER_FAULTS, "large", "--with-ft ulfm", 3, {0, 2}, 1, operation});
  }
}

TEST_P(MpiFaults, SilenceInAnyOperationIsToldAtTheDeadline) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_FAULTS, "", 3, "silence", directory.path());
  expect_right(directory.path(), {0, 2}, 17, result);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// Wherever in its splits a rank stops: between their steps, too.
TEST_P(MpiFaults, AStopInTheMiddleOfSplitsIsToldAtTheDeadline) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_PART_FAULTS, "", 3, "stops", directory.path());
  expect_right(directory.path(), {0, 2}, 8, result);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_P(MpiFaults, LeavingIsToldToThoseWhoGoOnInAnyOperation) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_FAULTS, "--with-ft ulfm", 3, "leaving", directory.path());
  expect_right(directory.path(), {0, 2}, 18, result);
}

TEST_P(MpiFaults, DifferentCallsAreAMismatchNamingBoth) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_FAULTS, "", 3, "mismatch", directory.path());
  const auto all = verdicts_in(directory.path(), {0, 1, 2});
  ASSERT_EQ(all.size(), 3u) << result.out << result.err;
  EXPECT_GT(all.at(0).size(), 60u);
  EXPECT_EQ(all.at(0).size(), all.at(2).size());
  for (const auto& [rank, verdicts] : all) {
    for (const Verdict& verdict : verdicts) EXPECT_TRUE(verdict.right) << verdict.line;
  }
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_P(MpiFaults, AnAbortLeavesTheOperationBeforeToThoseWhoAreStillInIt) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_FAULTS, "--with-ft ulfm", 3, "abort", directory.path());
  expect_right(directory.path(), {0, 1, 2}, 2, result);
}

TEST_P(MpiFaults, AnAbortFromAnotherThreadWakesItsWaiterInAnyOperation) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_FAULTS, "", 3, "waiter", directory.path());
  expect_right(directory.path(), {0, 2}, 17, result);
  expect_right(directory.path(), {1}, 32, result);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// Between hosts a living rank is ended along with a dead one now and then, as above: then once
// more.
void MpiFaults::expect_told(const Survival& survival) {
  for (int starts_left = GetParam().between_hosts ? 3 : 0;; --starts_left) {
    const ScratchDirectory directory;
    const ProgramResult result = run(survival.program, survival.options, survival.ranks,
                                     survival.kind, directory.path(), survival.more);
    if (starts_left > 0 && !all_right(directory.path(), survival.survivors, survival.cases)) {
      std::cout << "starting again\n" << result.out << result.err << std::endl;
      continue;
    }
    return expect_right(directory.path(), survival.survivors, survival.cases, result);
  }
}

TEST_P(MpiFaults, SurvivorsGoOnAfterAnAbortAndAfterDeaths) {
  expect_told({MUSTER_SURVIVORS, "deaths", "--with-ft ulfm", 6, {0, 2, 3, 5}, 6});
}

TEST_P(MpiFaults, SurvivorsWaitForASilentRankUntilItEnds) {
  expect_told({MUSTER_SURVIVORS, "silence", "--with-ft ulfm", 3, {0, 2}, 3});
}

TEST_P(MpiFaults, AStopInTheMiddleOfShrinksIsToldAtTheDeadline) {
  expect_told({MUSTER_SURVIVORS, "stops", "--with-ft ulfm", 3, {0, 2}, 1});
}

TEST_P(MpiFaults, ReadsOfALostRanksWindowAreToldAndThoseOfOthersGoOn) {
  expect_told({MUSTER_PART_FAULTS, "reads", "--with-ft ulfm", 8, {0, 7}, 16});
}

TEST_P(MpiFaults, WhereMpiCannotGoOnItIsSaid) {
  expect_told({MUSTER_SURVIVORS, "refusal", "", 3, {0, 1, 2}, 2});
}

TEST_P(MpiFaults, SurvivorsGoOnWhenMoreDieMeanwhile) {
  for (const char* delay : {" 0", " 1000", " 10000"}) {
    SCOPED_TRACE(std::string("second death after us:") + delay);
    expect_told({MUSTER_SURVIVORS, "meanwhile", "--with-ft ulfm", 6, {0, 2, 4, 5}, 2, delay});
  }
}

class MpiFaultsOnOneHost : public MpiFaults {};

// A rank does not wait for the others when it drops a part.
TEST_P(MpiFaultsOnOneHost, PartsAreMadeAndLeftWithoutEnd) {
  const ScratchDirectory directory;
  const ProgramResult result = run(MUSTER_PART_FAULTS, "", 2, "parts", directory.path());
  expect_right(directory.path(), {0, 1}, 2, result);
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// There mpirun itself is the daemon.
TEST_P(MpiFaultsOnOneHost, NoRankOutlivesTheDaemonThatStartedIt) {
  const ScratchDirectory directory;
  // What Open MPI can no longer tidy up goes with the directory.
  setenv("TMPDIR", directory.path().c_str(), 1);
  setenv("OMPI_MCA_btl_sm_backing_directory", directory.path().c_str(), 1);
  const ProgramResult result = run(MUSTER_FAULTS, "", 3, "daemon", directory.path());
  unsetenv("TMPDIR");
  unsetenv("OMPI_MCA_btl_sm_backing_directory");
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.err;
  const std::string ranks = directory.path();
  EXPECT_TRUE(wait_until([&] { return processes_with(ranks).empty(); }, std::chrono::seconds(20)));
  for (const pid_t left : processes_with(ranks)) kill(left, SIGKILL);
}

const auto name_of_place = [](const auto& each) { return std::string(each.param.name); };
const Where kOnOneHost{"OnOneHost", "mpi", false};
const Where kBetweenHosts{"BetweenHosts", "auto", true};

INSTANTIATE_TEST_SUITE_P(, MpiFaults, ::testing::Values(kOnOneHost, kBetweenHosts), name_of_place);
INSTANTIATE_TEST_SUITE_P(, MpiFaultsOnOneHost, ::testing::Values(kOnOneHost), name_of_place);

}  // namespace
}  // namespace muster::testing
