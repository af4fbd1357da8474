// `muster doctor` between nodes: two hosts, under mpirun, with and without a slow cable.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/json.h"
#include "two_hosts.h"

namespace muster::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json finding(const Json& report, const std::string& id) {
  for (const Json& one : report["findings"]) {
    if (one["id"] == id) return one;
  }
  return {};
}

class DoctorBetweenNodes : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = TwoHosts::missing();
    if (!missing.empty()) GTEST_SKIP() << missing;
  }
};

TEST_F(DoctorBetweenNodes, MeasuresThemByMpirun) {
  const TwoHosts hosts;
  const ProgramResult result =
      hosts.run("muster doctor -n 1 --json --mpirun '" + TwoHosts::mpirun_words(2) + "'");
  const Json report = parse_json(result.out, "muster doctor");
  const Json& measured = report["facts"]["over_mpi"];
  ASSERT_FALSE(measured.contains("error")) << measured["error"];
  EXPECT_EQ(measured["hosts"], 2);
  EXPECT_EQ(measured["transport"], "nodes");
  ASSERT_EQ(measured["ranks"].size(), 4u);
  EXPECT_EQ(measured["ranks"][0]["host"], TwoHosts::name(0));
  EXPECT_EQ(measured["ranks"][3]["host"], TwoHosts::name(1));
  EXPECT_EQ(measured["broadcasts"].size(), 2u);
  EXPECT_FALSE(finding(report, "measured.link").is_null());
  EXPECT_EQ(result.exit_code, report["exit_code"]);
}

TEST_F(DoctorBetweenNodes, AsRanksOfAnMpirunOneSpeaks) {
  const TwoHosts hosts;
  const ProgramResult result =
      hosts.run("mpirun " + TwoHosts::mpirun_words(1) + " muster doctor -n 1 --json");
  const Json report = parse_json(result.out, "muster doctor");
  EXPECT_EQ(report["facts"]["over_mpi"]["hosts"], 2) << result.err;
  EXPECT_EQ(report["facts"]["system"]["hostname"], TwoHosts::name(0));
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(DoctorBetweenNodes, NamesTheSlowHost) {
  const TwoHosts hosts;
  if (!hosts.slow_down(1, 400)) GTEST_SKIP() << "a slow cable needs the program tc";
  const ProgramResult result =
      hosts.run("mpirun " + TwoHosts::mpirun_words(1) + " muster doctor -n 1 --json");
  const Json report = parse_json(result.out, "muster doctor");
  const Json slow = finding(report, "measured.slow_host");
  ASSERT_FALSE(slow.is_null()) << report["facts"]["over_mpi"];
  EXPECT_EQ(slow["severity"], "warning");
  EXPECT_THAT(slow["found"].get<std::string>(),
              HasSubstr(std::string(TwoHosts::name(1)) + " sends at"));
}

TEST_F(DoctorBetweenNodes, AHostThatIsNotThereIsAnError) {
  const TwoHosts hosts;
  const ProgramResult result =
      hosts.run("muster doctor -n 1 --json --mpirun '-n 2 --host nobody:2'");
  EXPECT_EQ(result.exit_code, 2) << result.err;
  const Json report = parse_json(result.out, "muster doctor");
  EXPECT_EQ(finding(report, "measured.failed")["severity"], "error");
}

}  // namespace
}  // namespace muster::testing
