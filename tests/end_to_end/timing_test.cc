// How long people wait: for the first step, for help, for a job to go on after a kill. Each beside
// what nobody could do without, taken in turns, so that a slow machine is slow for both. The least
// of five, since whatever else runs only adds; page cache warm.
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
using Measure = std::function<double()>;  // seconds

constexpr std::chrono::seconds kDeadline{60};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Prints both and returns the first over the second.
double ratio(const char* name, const Measure& measured, const char* limit_name,
             const Measure& limit) {
  double value = measured(), least = limit();
  for (int round = 1; round < 5; ++round) {
    value = std::min(value, measured());
    least = std::min(least, limit());
  }
  std::printf("%s: %.4f s; %s: %.4f s; ratio %.2f\n", name, value, limit_name, least,
              value / least);
  return value / least;
}

bool has_stepped(const Job& job) { return job.metrics().find('\n') != std::string::npos; }

double start_to_first_step() {
  Job job("fashion_mnist", fashion_mnist_options(2000));
  const auto start = Clock::now();
  const auto program = job.start(2);
  EXPECT_TRUE(wait_until([&] { return has_stepped(job); }, kDeadline));
  return seconds_since(start);
}

/// As many processes of the same program, each alone, without a launcher.
double alone_to_first_step() {
  Job jobs[] = {Job("fashion_mnist", fashion_mnist_options(2000)),
                Job("fashion_mnist", fashion_mnist_options(2000))};
  const auto start = Clock::now();
  const std::unique_ptr<Program> programs[] = {jobs[0].start_alone(), jobs[1].start_alone()};
  for (const Job& job : jobs) {
    EXPECT_TRUE(wait_until([&] { return has_stepped(job); }, kDeadline));
  }
  return seconds_since(start);
}

TEST(Timing, FromMusterRunToTheFirstStep) {
  alone_to_first_step();  // warms the page cache
  EXPECT_LT(ratio("muster run to first step", start_to_first_step,
                  "both programs alone to first step", alone_to_first_step),
            2.5);
}

double kill_to_next_new_step() {
  Job job("fashion_mnist", fashion_mnist_options(2000));
  const auto program = job.start(2);
  EXPECT_TRUE(wait_until([&] { return job.step() >= 20; }, kDeadline));
  EXPECT_TRUE(job.signal_rank(1, SIGKILL));
  std::smatch match;
  std::string told;
  const std::regex recovered("recovered in ([0-9.]+) ?(m?)s");
  EXPECT_TRUE(wait_until(
      [&] {
        told = program->error();
        return std::regex_search(told, match, recovered);
      },
      kDeadline))
      << told;
  if (match.empty()) return 1e9;
  return std::stod(match[1]) / (match[2].length() > 0 ? 1000 : 1);
}

TEST(Timing, FromAKillToTheNextNewStep) {
  alone_to_first_step();
  EXPECT_LT(ratio("kill to next new step", kill_to_next_new_step,
                  "both programs alone to first step", alone_to_first_step),
            3.0);
}

/// Twenty in one shell, so that the shell's own start does not count.
double start_of(const std::string& command) {
  const ScratchDirectory scratch;
  const auto start = Clock::now();
  Program program(
      {"sh", "-c",
       "i=0; while [ $i -lt 20 ]; do " + command + " >/dev/null || exit 1; i=$((i+1)); done"},
      scratch.path());
  EXPECT_EQ(program.wait().exit_code, 0);
  return seconds_since(start) / 20;
}

TEST(Timing, Help) {
  EXPECT_LT(ratio(
                "muster --help", [] { return start_of(MUSTER_BIN_DIR "/muster --help"); },
                "cmake --version", [] { return start_of("cmake --version"); }),
            1.0);
}

}  // namespace
}  // namespace muster::testing
