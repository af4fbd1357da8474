// muster run's command line: what is ours, what is the program's, and what is wrong.
#include "launch_options.h"

#include <gmock/gmock.h>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LaunchOptions parse(const std::vector<std::string>& words) {
  return parse_launch_options(words).value();
}

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

TEST(LaunchOptionsTest, DefaultsAreOneRankAndThreeRestarts) {
  const LaunchOptions options = parse({"./train"});
  EXPECT_EQ(options.ranks, 1);
  EXPECT_EQ(options.max_restarts, 3);
  EXPECT_EQ(options.grace, std::chrono::seconds(30));
  EXPECT_FALSE(options.elastic);
  EXPECT_EQ(options.program, "./train");
  EXPECT_TRUE(options.arguments.empty());
}

TEST(LaunchOptionsTest, EverythingAfterTheProgramIsTheProgramsOwn) {
  const LaunchOptions options =
      parse({"-n", "4", "--max-restarts", "-1", "./train", "-n", "9", "--", "--help"});
  EXPECT_EQ(options.ranks, 4);
  EXPECT_EQ(options.max_restarts, -1);
  EXPECT_THAT(options.arguments, ElementsAre("-n", "9", "--", "--help"));
}

TEST(LaunchOptionsTest, DoubleDashEndsOurFlags) {
  const LaunchOptions options = parse({"--ranks=2", "--quiet", "--grace=1.5", "--", "-odd", "x"});
  EXPECT_EQ(options.ranks, 2);
  EXPECT_TRUE(options.quiet);
  EXPECT_EQ(options.grace, std::chrono::milliseconds(1500));
  EXPECT_EQ(options.program, "-odd");
}

TEST(LaunchOptionsTest, ElasticGivesTheNumberOfRanks) {
  EXPECT_EQ(parse({"--elastic", "2:5", "x"}).ranks, 5);
  const LaunchOptions options = parse({"--elastic", "2:5", "-n", "3", "x"});
  EXPECT_EQ(options.ranks, 3);
  EXPECT_EQ(options.elastic->min, 2);
  EXPECT_EQ(options.elastic->max, 5);
}

TEST(LaunchOptionsTest, AllProblemsAreToldAtOnce) {
  const std::string error =
      error_of({"-n", "0", "--elastic", "3:1", "--max-restarts", "-2", "--grace", "-1", "x"});
  EXPECT_THAT(error, HasSubstr("-n: expected 1 to 256 ranks, found 0"));
  EXPECT_THAT(error, HasSubstr("--elastic: expected MIN:MAX with 1 <= MIN <= MAX, found '3:1'"));
  EXPECT_THAT(error, HasSubstr("--max-restarts"));
  EXPECT_THAT(error, HasSubstr("--grace"));
}

TEST(LaunchOptionsTest, EachMistakeIsNamed) {
  EXPECT_THAT(error_of({"--max-restart", "3", "x"}), HasSubstr("did you mean --max-restarts?"));
  EXPECT_THAT(error_of({"-x", "3", "x"}), HasSubstr("found '-x'"));
  EXPECT_THAT(error_of({"-n", "two", "x"}), HasSubstr("expected a whole number, found 'two'"));
  EXPECT_THAT(error_of({"-n", "4", "--elastic", "1:2", "x"}),
              HasSubstr("within --elastic 1:2, found 4"));
  for (const char* elastic : {"2", "a:b", "1:", ":2", "0:2", "1:2:3"}) {
    EXPECT_THAT(error_of({"--elastic", elastic, "x"}), HasSubstr("--elastic: expected MIN:MAX"))
        << elastic;
  }
  for (const auto& words : {std::vector<std::string>{}, {"-n", "2"}, {"--"}, {"--quiet", "--"}}) {
    EXPECT_THAT(error_of(words), HasSubstr("expected a program to start"))
        << ::testing::PrintToString(words);
  }
  EXPECT_NE(error_of({"-n"}), "");
}

TEST(LaunchOptionsTest, HelpIsAskedForBeforeTheProgramOnly) {
  EXPECT_FALSE(parse_launch_options({"--help"}));
  EXPECT_FALSE(parse_launch_options({"-n", "2", "-h"}));
  EXPECT_TRUE(parse_launch_options({"./train", "--help"}));
}

TEST(LaunchOptionsTest, HelpNamesEveryFlag) {
  const std::string help = launch_help();
  for (const char* flag :
       {"-n N", "--ranks", "--max-restarts", "--elastic", "--log-dir", "--grace", "--quiet"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

}  // namespace
}  // namespace muster::launcher
