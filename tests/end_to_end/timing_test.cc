// How long people wait: for the first step, for help, for a job to go on after a kill. Medians of
// three, page cache warm.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <regex>

#include "job.h"

namespace muster::testing {
namespace {

using Clock = std::chrono::steady_clock;

double median_of_three(const std::function<double()>& measure) {
  double values[3];
  for (double& value : values) value = measure();
  std::sort(values, values + 3);
  return values[1];
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

TEST(Timing, FromMusterRunToTheFirstStep) {
  Job("fashion_mnist", fashion_mnist_options(1)).run(2);  // warms the page cache
  const double seconds = median_of_three([] {
    Job job("fashion_mnist", fashion_mnist_options(2000));
    const auto start = Clock::now();
    auto program = job.start(2);
    EXPECT_TRUE(wait_until([&] { return job.step() >= 1; }, std::chrono::seconds(30)));
    return seconds_since(start);
  });
  RecordProperty("seconds", std::to_string(seconds));
  std::printf("start to first step: %.3f s\n", seconds);
  EXPECT_LT(seconds, 1.5);
}

TEST(Timing, FromAKillToTheNextNewStep) {
  const double seconds = median_of_three([] {
    Job job("fashion_mnist", fashion_mnist_options(400));
    auto program = job.start(2);
    EXPECT_TRUE(wait_until([&] { return job.step() >= 20; }, std::chrono::seconds(30)));
    kill(job.rank_pid(1), SIGKILL);
    const ProgramResult result = program->wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::smatch match;
    const std::regex recovered("recovered in ([0-9.]+) ?(m?)s");
    if (!std::regex_search(result.err, match, recovered)) {
      ADD_FAILURE() << result.err;
      return 1e9;
    }
    return std::stod(match[1]) / (match[2].length() > 0 ? 1000 : 1);
  });
  std::printf("kill to next new step: %.3f s\n", seconds);
  EXPECT_LT(seconds, 2.0);
}

TEST(Timing, Help) {
  ScratchDirectory scratch;
  const double seconds = median_of_three([&] {
    const auto start = Clock::now();
    // A hundred in one shell, so that the shell's own start does not count.
    Program program({"sh", "-c",
                     "i=0; while [ $i -lt 100 ]; do " + std::string(MUSTER_BIN_DIR) +
                         "/muster --help >/dev/null || exit 1; i=$((i+1)); done"},
                    scratch.path());
    EXPECT_EQ(program.wait().exit_code, 0);
    return seconds_since(start) / 100;
  });
  std::printf("muster --help: %.1f ms\n", seconds * 1000);
  EXPECT_LT(seconds, 0.020);
}

}  // namespace
}  // namespace muster::testing
