// muster run, the real program: what it starts, what it says and the code it leaves with.
#include <gmock/gmock.h>

#include "launcher/muster_process.h"

namespace muster::launcher::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RunTest : public MusterRunTest {
 protected:
  /// Runs to the end; sees to it that nothing is left.
  int run(const std::vector<std::string>& flags, const std::vector<std::string>& words) {
    MusterProcess muster(directory_, run_words(flags, words));
    const int code = muster.wait();
    error_ = muster.error();
    output_ = muster.output();
    EXPECT_EQ(survivors(), 0u);
    return code;
  }

  int run_program(const std::vector<std::string>& program) {
    std::vector<std::string> words{"run", "-n", "2", "--max-restarts", "0", "--"};
    words.insert(words.end(), program.begin(), program.end());
    MusterProcess muster(directory_, words);
    const int code = muster.wait();
    error_ = muster.error();
    output_ = muster.output();
    return code;
  }

  std::string error_;
  std::string output_;
};

TEST_F(RunTest, DoneOnEveryRankIsSuccess) {
  EXPECT_EQ(run({"-n", "3"}, {"hello", "progress=1/1", "done"}), 0);
  const Json json = status();
  EXPECT_EQ(json["state"], "done");
  EXPECT_EQ(json["world_size"], 3);
  EXPECT_EQ(json["generation"], 0);
  EXPECT_EQ(json["step"], 1);
  EXPECT_EQ(json["exit_code"], 0);
  EXPECT_EQ(json["ranks"].size(), 3u);
  EXPECT_THAT(error_, HasSubstr("muster: logs in "));
}

TEST_F(RunTest, AStrangersExitCodeCounts) {
  EXPECT_EQ(run_program({"/bin/true"}), 0);
  EXPECT_EQ(run_program({"/bin/false"}), 1);
  EXPECT_EQ(run_program({"sh", "-c", "exit 65"}), 65);
  EXPECT_EQ(run_program({"echo", "a  b"}), 0);
  EXPECT_EQ(output_, "a  b\n") << "rank 0's alone";
}

TEST_F(RunTest, AProgramThatCannotBeStartedIsAConfigError) {
  EXPECT_EQ(run_program({"./nothing-here"}), 64);
  EXPECT_THAT(error_, HasSubstr("there is no such file"));
  EXPECT_EQ(run_program({"nothing-in-path"}), 64);
  EXPECT_THAT(error_, HasSubstr("PATH"));
  EXPECT_EQ(run_program({"/etc/passwd"}), 64);
  EXPECT_THAT(error_, HasSubstr("not executable"));
  EXPECT_EQ(run_program({"/tmp"}), 64);
  EXPECT_THAT(error_, HasSubstr("a directory"));

  const std::filesystem::path script = directory_.path() / "script";
  for (const auto& [text, why] :
       {std::pair<const char*, const char*>{"just words\n", "not a program"},
        {"#!/no/such/shell\n", "interpreter"}}) {
    FILE* file = fopen(script.c_str(), "w");
    fputs(text, file);
    fclose(file);
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    EXPECT_EQ(run_program({script}), 64);
    EXPECT_THAT(error_, HasSubstr(why));
  }
}

TEST_F(RunTest, ErrorsThatWouldComeAgainAreToldOnceAndEndTheJob) {
  for (const char* code : {"1", "64", "65", "70", "74", "76"}) {
    const std::string failure = "failure=" + std::string(code) + ":SomeError:what to do";
    EXPECT_EQ(run({"-n", "2"}, {"hello", failure, "exit=" + std::string(code)}), std::stoi(code));
    EXPECT_EQ(status()["generation"], 0);
    const std::size_t first = error_.find("what to do");
    ASSERT_NE(first, std::string::npos);
    EXPECT_EQ(error_.find("what to do", first + 1), std::string::npos) << error_;
    std::filesystem::remove_all(directory_.path() / "logs");
    std::filesystem::remove(directory_.path() / "error");
  }
}

TEST_F(RunTest, ZeroWithoutDoneIsAFailureOfTheProgram) {
  EXPECT_EQ(
      run({"-n", "2"}, {"hello", "rank=1", "exit=0", "always", "rank=0", "join", "wait-lost"}), 1);
  EXPECT_THAT(error_, HasSubstr("rank 1 of 2 left with exit code 0 before its work was done"));
}

TEST_F(RunTest, TheCauseIsTheRankThatFailedAndNotItsSurvivors) {
  EXPECT_EQ(run({"-n", "3", "--max-restarts", "0"},
                {"hello", "join", "rank=1", "error=the last line", "kill", "always", "wait-lost"}),
            75);
  EXPECT_THAT(error_, HasSubstr("rank 1 of 3 was killed by SIGKILL (Killed)"));
  EXPECT_THAT(error_, HasSubstr("the last line"));
  EXPECT_THAT(error_, HasSubstr("generation-000/rank-1.log"));
  EXPECT_THAT(error_, HasSubstr("exit code 75"));
  EXPECT_THAT(error_, Not(HasSubstr("PeerLost")));
  for (const int survivor : {0, 2}) {
    EXPECT_THAT(log(0, survivor), HasSubstr("PeerLost")) << "woken, not killed";
  }
}

TEST_F(RunTest, SurvivorsThatDoNotNoticeAreKilled) {
  EXPECT_EQ(run({"-n", "3", "--max-restarts", "0"},
                {"hello", "rank=2", "segv", "always", "ignore-term", "pause"}),
            75);
  EXPECT_THAT(error_, HasSubstr("rank 2 of 3 was killed by SIGSEGV"));
}

TEST_F(RunTest, AFailureIsInTheRanksOwnLog) {
  run({"-n", "2"}, {"hello", "rank=1", "failure=65:DataError:file x is short", "exit=65", "always",
                    "join", "wait-lost"});
  EXPECT_THAT(log(0, 1), HasSubstr("DataError: file x is short"));
}

TEST_F(RunTest, QuietKeepsErrorsAlone) {
  EXPECT_EQ(run({"--quiet"}, {"hello", "progress=1/2", "progress=2/2", "done"}), 0);
  EXPECT_EQ(error_, "");
  EXPECT_EQ(run({"--quiet"}, {"hello", "failure=64:ConfigError:wrong", "exit=64"}), 64);
  EXPECT_THAT(error_, HasSubstr("wrong"));
}

TEST_F(RunTest, ARankThatIsDoneAndDoesNotLeaveIsNamed) {
  EXPECT_EQ(run({"--grace", "0.1"}, {"hello", "done", "ignore-term", "pause"}), 70);
  EXPECT_THAT(error_, HasSubstr("said that it was done, and did not leave"));
}

TEST_F(RunTest, RanksGetACleanStart) {
  MusterProcess muster(directory_,
                       {"run", "-n", "2", "--", "sh", "-c",
                        "cat; ls -l /proc/self/fd | grep -c -e socket: -e memfd:; "
                        "awk '{print \"session of its own:\", $1 == $6}' /proc/$$/stat; "
                        "grep SigIgn /proc/self/status; echo $MUSTER_RANK of $MUSTER_WORLD_SIZE"});
  EXPECT_EQ(muster.wait(), 0);
  // Standard input is empty, three descriptors (control, node memory, snapshots) beside the three,
  // no signal is ignored.
  EXPECT_EQ(muster.output(), "3\nsession of its own: 1\nSigIgn:\t0000000000000000\n0 of 2\n");
}

TEST_F(RunTest, AnUnwritableLogDirectoryIsAConfigError) {
  MusterProcess muster(directory_, {"run", "--log-dir", "/proc/nowhere", "--", "/bin/true"});
  EXPECT_EQ(muster.wait(), 64);
  EXPECT_THAT(muster.error(), HasSubstr("--log-dir"));
}

}  // namespace
}  // namespace muster::launcher::testing
