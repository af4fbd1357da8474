// Options: flags, config files, their precedence, every way to get them wrong, and the frozen help
// text.
#include "muster/base/options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "muster/base/error.h"

namespace muster {
namespace {

struct Values {
  std::int64_t steps = 100;
  double rate = 0.1;
  bool shuffle = true;
  bool verbose = false;
  std::string name = "run";
  std::string output;
  std::string transport = "auto";
};

class OptionsTest : public testing::Test {
 protected:
  OptionsTest() {
    set_.group("Training");
    set_.add("steps", &values_.steps, "Optimizer steps");
    set_.add("learning-rate", &values_.rate, "Step width");
    set_.add("shuffle", &values_.shuffle, "Shuffle each epoch");
    set_.add("verbose", &values_.verbose, "Say more");
    set_.group("Run");
    set_.add("name", &values_.name, "Name of the run");
    set_.add("output-dir", &values_.output, "Where files go");
    set_.add_choice("transport", &values_.transport, {"auto", "shm", "mpi"}, "How ranks talk");
  }
  ~OptionsTest() override {
    if (!config_directory_.empty()) std::filesystem::remove_all(config_directory_);
  }

  OptionSet::Outcome parse(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"train"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return set_.parse(static_cast<int>(argv.size()), argv.data());
  }

  std::string config_error(const std::vector<std::string>& arguments) {
    try {
      parse(arguments);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "";
  }

  /// Expects a ConfigError whose text holds all `parts`.
  void expect_error(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& parts) {
    const std::string message = config_error(arguments);
    EXPECT_NE(message, "") << "no error for " << testing::PrintToString(arguments);
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' in: " << message;
    }
  }

  std::string config_file(const std::string& text, const std::string& name = "config.json") {
    if (config_directory_.empty()) {
      std::string pattern = std::filesystem::temp_directory_path() / "muster-options-test-XXXXXX";
      if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
      config_directory_ = pattern;
    }
    const std::filesystem::path path = config_directory_ / name;
    std::ofstream(path) << text;
    return path;
  }

  Values values_;
  OptionSet set_{"train", "Trains a model"};
  std::filesystem::path config_directory_;
};

TEST_F(OptionsTest, NothingGivenKeepsTheDefaults) {
  EXPECT_EQ(parse({}), OptionSet::Outcome::kRun);
  EXPECT_EQ(values_.steps, 100);
  EXPECT_EQ(values_.rate, 0.1);
  EXPECT_TRUE(values_.shuffle);
  EXPECT_EQ(values_.output, "");
  for (const char* name :
       {"steps", "learning-rate", "shuffle", "name", "output-dir", "transport"}) {
    EXPECT_FALSE(set_.was_given(name)) << name;
  }
}

TEST_F(OptionsTest, EveryTypeBySpaceAndByEquals) {
  parse({"--steps", "7", "--learning-rate", "2.5e-3", "--name", "a b", "--transport", "shm"});
  EXPECT_EQ(values_.steps, 7);
  EXPECT_EQ(values_.rate, 2.5e-3);
  EXPECT_EQ(values_.name, "a b");
  EXPECT_EQ(values_.transport, "shm");
  parse({"--steps=8", "--learning-rate=3", "--name=c,d=e", "--transport=mpi"});
  EXPECT_EQ(values_.steps, 8);
  EXPECT_EQ(values_.rate, 3.0);
  EXPECT_EQ(values_.name, "c,d=e");
  EXPECT_EQ(values_.transport, "mpi");
}

TEST_F(OptionsTest, BoolForms) {
  parse({"--verbose"});
  EXPECT_TRUE(values_.verbose);
  parse({"--verbose=false", "--shuffle=0"});
  EXPECT_FALSE(values_.verbose);
  EXPECT_FALSE(values_.shuffle);
  parse({"--verbose=1", "--shuffle=true"});
  EXPECT_TRUE(values_.verbose);
  EXPECT_TRUE(values_.shuffle);
  expect_error({"--verbose=yes"}, {"--verbose", "true or false", "'yes'"});
  expect_error({"--verbose", "false"}, {"found 'false'", "--name=false"});
}

TEST_F(OptionsTest, BoolDoesNotTakeTheNextFlag) {
  parse({"--verbose", "--steps", "3"});
  EXPECT_TRUE(values_.verbose);
  EXPECT_EQ(values_.steps, 3);
}

TEST_F(OptionsTest, EmptyTextIsAValue) {
  parse({"--name="});
  EXPECT_EQ(values_.name, "");
  EXPECT_TRUE(set_.was_given("name"));
  parse({"--output-dir", ""});
  EXPECT_TRUE(set_.was_given("output-dir"));
}

TEST_F(OptionsTest, NegativeNumbers) {
  parse({"--steps", "-5", "--learning-rate", "-1e-3"});
  EXPECT_EQ(values_.steps, -5);
  EXPECT_EQ(values_.rate, -1e-3);
  parse({"--steps=-9223372036854775808"});
  EXPECT_EQ(values_.steps, std::numeric_limits<std::int64_t>::min());
}

TEST_F(OptionsTest, ValueEqualToTheDefaultCountsAsGiven) {
  parse({"--steps", "100", "--shuffle"});
  EXPECT_TRUE(set_.was_given("steps"));
  EXPECT_TRUE(set_.was_given("shuffle"));
  EXPECT_FALSE(set_.was_given("name"));
  parse({"--config", config_file(R"({"name": "run"})")});
  EXPECT_TRUE(set_.was_given("name"));
}

TEST_F(OptionsTest, LastOfDuplicateFlagsWins) {
  parse({"--steps", "1", "--steps=2", "--steps", "3"});
  EXPECT_EQ(values_.steps, 3);
}

TEST_F(OptionsTest, UnknownFlagSuggestsTheNearest) {
  expect_error({"--step", "7"}, {"found '--step'", "did you mean --steps?"});
  expect_error({"--learnign-rate=1"}, {"found '--learnign-rate'", "did you mean --learning-rate?"});
  expect_error({"--confg", "x"}, {"did you mean --config?"});
  expect_error({"--qqqqqqqqqq"}, {"found '--qqqqqqqqqq'", "see --help"});
  EXPECT_EQ(values_.steps, 100);
}

TEST_F(OptionsTest, StrayArgumentsAreErrors) {
  expect_error({"data.bin"}, {"found 'data.bin'", "--name VALUE"});
  expect_error({"-s", "3"}, {"expected flags alone"});
  expect_error({"--steps", "3", "4"}, {"found '4'"});
  expect_error({"--", "x"}, {"'x'"});
}

TEST_F(OptionsTest, MalformedNumbersNameFlagKindAndText) {
  for (const char* text :
       {"", "x", "1x", "1.5", " 1", "+1", "1e3", "9223372036854775808", "0x10"}) {
    expect_error({"--steps=" + std::string(text)},
                 {"--steps: expected a whole number", "'" + std::string(text) + "'"});
  }
  for (const char* text : {"", "x", "1.5.2", "nan", "inf", "1e999", "0,5"}) {
    expect_error({"--learning-rate=" + std::string(text)},
                 {"--learning-rate: expected a number", "'" + std::string(text) + "'"});
  }
  EXPECT_EQ(values_.steps, 100);
  EXPECT_EQ(values_.rate, 0.1);
}

TEST_F(OptionsTest, TextOfTwoLinesIsTakenAfterASpaceAlone) {
  parse({"--name", "two\nlines"});
  EXPECT_EQ(values_.name, "two\nlines");
  expect_error({"--name=two\nlines"}, {"--name: expected a value of one line", "--name VALUE"});
}

TEST_F(OptionsTest, MissingValue) {
  expect_error({"--steps"}, {"steps", "see --help"});
  expect_error({"--config"}, {"config"});
}

TEST_F(OptionsTest, ChoiceOutsideTheListNamesTheList) {
  expect_error({"--transport", "tcp"}, {"--transport", "auto, shm, mpi", "'tcp'"});
  EXPECT_EQ(values_.transport, "auto");
}

TEST_F(OptionsTest, AWordMayStandForZero) {
  std::int64_t batch = 32;
  set_.add_number_or("batch", &batch, "auto", "Samples");
  EXPECT_EQ(set_.to_json()["batch"], 32);
  parse({"--batch", "auto"});
  EXPECT_EQ(batch, 0);
  EXPECT_EQ(set_.to_json()["batch"], "auto");
  set_.apply_json({{"batch", 8}}, "test");
  EXPECT_EQ(batch, 8);
  set_.apply_json({{"batch", "auto"}}, "test");
  EXPECT_EQ(batch, 0);
  const std::string expected = "--batch: expected a whole number above 0, or auto, found ";
  for (const char* wrong : {"0", "-1", "automatic", ""})
    EXPECT_EQ(config_error({"--batch", wrong}), expected + "'" + wrong + "'; see --help");
}

TEST_F(OptionsTest, HelpWinsOverEverythingElse) {
  EXPECT_EQ(parse({"--help"}), OptionSet::Outcome::kHelp);
  EXPECT_EQ(parse({"--unknown", "--steps=x", "--help"}), OptionSet::Outcome::kHelp);
  EXPECT_EQ(values_.steps, 100);
}

TEST_F(OptionsTest, ConfigFileSetsEveryType) {
  parse({"--config", config_file(R"({"steps": -3, "learning-rate": 1e-5, "shuffle": false,
                                     "name": "from file", "transport": "mpi"})")});
  EXPECT_EQ(values_.steps, -3);
  EXPECT_EQ(values_.rate, 1e-5);
  EXPECT_FALSE(values_.shuffle);
  EXPECT_EQ(values_.name, "from file");
  EXPECT_EQ(values_.transport, "mpi");
}

TEST_F(OptionsTest, FlagsWinOverTheFileWhereverTheyStand) {
  const std::string file = config_file(R"({"steps": 1, "name": "file"})");
  parse({"--steps", "2", "--config", file});
  EXPECT_EQ(values_.steps, 2);
  EXPECT_EQ(values_.name, "file");
  parse({"--config=" + file, "--steps", "100"});  // the default, but said
  EXPECT_EQ(values_.steps, 100);
}

TEST_F(OptionsTest, LaterConfigFileWins) {
  const std::string first = config_file(R"({"steps": 1, "name": "first"})", "1.json");
  const std::string second = config_file(R"({"steps": 2})", "2.json");
  parse({"--config", first, "--config", second});
  EXPECT_EQ(values_.steps, 2);
  EXPECT_EQ(values_.name, "first");
}

TEST_F(OptionsTest, WrongConfigFilesNameFileAndKey) {
  const auto expect_file_error = [&](const std::string& text, std::vector<std::string> parts) {
    const std::string path = config_file(text);
    parts.push_back(path);
    expect_error({"--config", path}, parts);
  };
  expect_file_error("", {"expected JSON"});
  expect_file_error("{", {"expected JSON"});
  expect_file_error("[1]", {"JSON object"});
  expect_file_error(R"({"step": 1})", {"'step'", "did you mean 'steps'?"});
  expect_file_error(R"({"steps": "1"})", {"'steps'", "a whole number", "\"1\""});
  expect_file_error(R"({"steps": 1.5})", {"'steps'", "a whole number", "1.5"});
  expect_file_error(R"({"steps": true})", {"'steps'", "a whole number", "true"});
  expect_file_error(R"({"steps": null})", {"'steps'", "null"});
  expect_file_error(R"({"steps": 9223372036854775808})", {"'steps'", "a whole number"});
  expect_file_error(R"({"learning-rate": [1]})", {"'learning-rate'", "a number"});
  expect_file_error(R"({"shuffle": "false"})", {"'shuffle'", "true or false"});
  expect_file_error(R"({"name": 7})", {"'name'", "text"});
  expect_file_error(R"({"transport": "tcp"})", {"'transport'", "auto, shm, mpi"});
  expect_error({"--config", "/nowhere/config.json"},
               {"--config", "/nowhere/config.json", "ENOENT"});
  expect_error({"--config", "/proc"}, {"--config", "/proc", "EISDIR"});
}

TEST_F(OptionsTest, PrintedFormReloads) {
  parse({"--steps=-7", "--learning-rate=0.30000000000000004", "--shuffle=false", "--name",
         "\"quoted\"\nline", "--output-dir=/tmp/x", "--transport=shm"});
  const std::string text = set_.to_json().dump();
  values_ = Values{};
  parse({"--config", config_file(text)});
  EXPECT_EQ(values_.steps, -7);
  EXPECT_EQ(values_.rate, 0.30000000000000004);
  EXPECT_FALSE(values_.shuffle);
  EXPECT_EQ(values_.name, "\"quoted\"\nline");
  EXPECT_EQ(values_.output, "/tmp/x");
  EXPECT_EQ(values_.transport, "shm");
  EXPECT_EQ(set_.to_json().dump(), text);
}

TEST_F(OptionsTest, PrintedFormKeepsTheOrderOfDeclaration) {
  EXPECT_EQ(set_.to_json().dump(),
            R"({"steps":100,"learning-rate":0.1,"shuffle":true,"verbose":false,"name":"run",)"
            R"("output-dir":"","transport":"auto"})");
}

TEST_F(OptionsTest, NamesThatAreTakenOrMalformedAreInternalErrors) {
  for (const char* name : {"steps", "help", "config", "x", "Steps", "-steps", "a,b", "a_b", ""}) {
    EXPECT_THROW(set_.add(name, &values_.steps, "help"), InternalError) << name;
  }
}

TEST_F(OptionsTest, HelpIsFrozen) {
  EXPECT_EQ(set_.help(), R"(Trains a model
Usage:
  train [OPTION...]

 Training options:
      --steps arg              Optimizer steps (default: 100)
      --learning-rate arg      Step width (default: 0.1)
      --shuffle [=arg(=true)]  Shuffle each epoch (default: true)
      --verbose [=arg(=true)]  Say more (default: false)

 Run options:
      --name arg        Name of the run (default: run)
      --output-dir arg  Where files go
      --transport arg   How ranks talk (auto | shm | mpi) (default: auto)

 Other options:
      --config arg  Read options from a JSON file first; flags win over it
      --help        Print this text and leave
)");
}

TEST_F(OptionsTest, HelpShowsTheDefaultsAlsoAfterParsing) {
  const std::string before = set_.help();
  parse({"--steps", "7"});
  EXPECT_EQ(set_.help(), before);
}

TEST(NearestName, NearestOrNothing) {
  const std::vector<std::string> names = {"steps", "stop", "learning-rate"};
  EXPECT_EQ(nearest_name("step", names), "steps");
  EXPECT_EQ(nearest_name("stoop", names), "stop");
  EXPECT_EQ(nearest_name("steps", names), "steps");
  EXPECT_EQ(nearest_name("leraning-rate", names), "learning-rate");
  EXPECT_EQ(nearest_name("zzz", names), "");
  EXPECT_EQ(nearest_name("steps", {}), "");
}

}  // namespace
}  // namespace muster
