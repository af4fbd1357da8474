// survivors KIND TRANSPORT DIRECTORY [MICROSECONDS]: ranks that MPI connects call shrink(), and
// write what came of it to DIRECTORY (verdicts.h). KIND is one of
//   deaths     an abort, after which all 6 ranks go on; then rank 1 dies; then rank 4
//   meanwhile  rank 1 of 6 dies, and rank 3 so much later, while others shrink
//   silence    rank 1 of 3 stops, and is killed once the others were told of it
//   stops      rank 1 of 3 stops, at moments of a stream of shrinks until some were before an
//              agreement on who is left, and some in it
//   refusal    3 ranks have an MPI that cannot do it
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/checks/operation_checks.h"
#include "end_to_end/programs/processes.h"
#include "end_to_end/programs/verdicts.h"
#include "muster/base/error.h"
#include "muster/collectives/world.h"

namespace muster::testing {
namespace {

using Clock = std::chrono::steady_clock;
using Ranks = std::vector<int>;
using std::chrono::milliseconds;

constexpr auto kDeadline = milliseconds(20000);
constexpr auto kAtOnce = milliseconds(1000);

std::string text_of(const Ranks& ranks) {
  std::ostringstream text;
  for (const int rank : ranks) text << rank << " ";
  return text.str();
}

void check(Communicator& communicator) {
  check_operations_at(communicator, Memory::kOrdinary, 1000, at::kFloat);
  check_operations_at(communicator, Memory::kSymmetric, 4097, at::kLong);
  check_canonical_at(communicator, Memory::kSymmetric, 4096, at::kFloat, 7);
  check_split(communicator);
}

bool all_checks_passed() {
  return !::testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed();
}

void run_until_lost(Communicator& communicator) {
  try {
    for (;;) communicator.all_reduce(at::zeros({100000})).wait();
  } catch (const PeerLost&) {
  }
}

/// The next generation has the ranks `expected` of `communicator`, soon, and works.
std::unique_ptr<Communicator> expect_to_go_on(const std::string& title, Communicator& communicator,
                                              const Ranks& expected, Verdicts& verdicts) {
  const Clock::time_point begin = Clock::now();
  auto left = communicator.shrink(kDeadline);
  const bool right =
      left->previous_ranks() == expected && left->generation() == communicator.generation() + 1 &&
      left->rank() ==
          std::find(expected.begin(), expected.end(), communicator.rank()) - expected.begin();
  verdicts.write(title, right, begin, kAtOnce, "went on with " + text_of(left->previous_ranks()));
  check(*left);
  verdicts.write(title + ": operations", all_checks_passed(), Clock::now(), kAtOnce, "");
  return left;
}

[[noreturn]] void die() {
  for (;;) raise(SIGKILL);
}

void deaths(Communicator& world, Verdicts& verdicts, const std::filesystem::path& directory) {
  meet(directory, "joined", world.rank(), {0, 1, 2, 3, 4, 5});
  if (world.rank() == 2) world.abort("a fresh start is wanted");
  auto all = expect_to_go_on("abort", world, {0, 1, 2, 3, 4, 5}, verdicts);
  meet(directory, "went-on", world.rank(), {0, 1, 2, 3, 4, 5});
  if (world.rank() == 1) die();
  run_until_lost(*all);
  auto five = expect_to_go_on("death of 1", *all, {0, 2, 3, 4, 5}, verdicts);
  meet(directory, "went-on-again", world.rank(), {0, 2, 3, 4, 5});
  if (world.rank() == 4) die();
  run_until_lost(*five);
  expect_to_go_on("death of 4", *five, {0, 1, 2, 4}, verdicts);
}

void meanwhile(Communicator& world, Verdicts& verdicts, const std::filesystem::path& directory,
               std::chrono::microseconds delay) {
  meet(directory, "joined", world.rank(), {0, 1, 2, 3, 4, 5});
  if (world.rank() == 1) die();
  if (world.rank() == 3) {
    std::thread([delay] {
      const auto end = Clock::now() + delay;
      while (Clock::now() < end) std::this_thread::yield();
      die();
    }).detach();
  }
  const Clock::time_point begin = Clock::now();
  auto left = world.shrink(kDeadline);
  if (left->world_size() == 5) {  // all had met before the second died
    run_until_lost(*left);
    left = left->shrink(kDeadline);
  }
  at::Tensor ranks = at::full({1}, world.rank(), at::kLong);
  left->all_reduce(ranks).wait();
  const bool right = left->world_size() == 4 && ranks.item<std::int64_t>() == 0 + 2 + 4 + 5;
  verdicts.write("two deaths", right, begin, 2 * kAtOnce,
                 std::to_string(left->world_size()) + " ranks went on");
  check(*left);
  verdicts.write("two deaths: operations", all_checks_passed(), Clock::now(), kAtOnce, "");
}

void silence(Communicator& world, Verdicts& verdicts, const std::filesystem::path& directory) {
  constexpr int kSilent = 1;
  const std::int64_t process = processes_of(world)[kSilent];
  if (world.rank() == kSilent) raise(SIGSTOP);
  wait_until_stopped(process);
  const milliseconds deadline(500);
  verdicts.expect<Timeout>(
      "silence", deadline + kAtOnce,
      {"within 500 ms, still absent: rank 1 (last in all_gather, operation 1)", "end those"},
      [&] { world.shrink(deadline); });
  poll_until([&] { return std::filesystem::file_size(Verdicts::path(directory, 2)) > 0; });
  if (world.rank() == 0) kill(static_cast<pid_t>(process), SIGKILL);
  expect_to_go_on("after its end", world, {0, 2}, verdicts);
}

[[noreturn]] void shrink_for_ever(std::unique_ptr<Communicator> part, milliseconds deadline) {
  for (;;) part = part->shrink(deadline);
}

void shrink_until_lost_and_stop(std::unique_ptr<Communicator> part, milliseconds deadline,
                                std::chrono::microseconds delay) {
  std::thread stopper = stop_after(delay);
  try {
    shrink_for_ever(std::move(part), deadline);
  } catch (const Error&) {
  }
  stopper.join();
}

/// What shrink() said of the stopped rank 1, soon enough; else why that was not right.
struct Told {
  bool right = false;
  std::string message;
};

// Those that stop when all have agreed are missed in the meeting that follows, and in one more.
Told shrink_until_told(std::unique_ptr<Communicator> part, milliseconds deadline) {
  const Clock::time_point latest = Clock::now() + 2 * deadline + kAtOnce;
  try {
    shrink_for_ever(std::move(part), deadline);
  } catch (const Timeout& error) {
    const std::string message = error.what();
    const bool named = message.find("still absent: rank 1 (") != std::string::npos;
    return {named && Clock::now() < latest, message};
  } catch (const std::exception& error) {
    return {false, std::string("another error: ") + error.what()};
  }
}

void stops(Communicator& world, Verdicts& verdicts, const std::filesystem::path& directory) {
  constexpr int kVictim = 1;
  constexpr int kMostStops = 40;
  const milliseconds deadline(500);
  const auto victim = static_cast<pid_t>(processes_of(world)[kVictim]);
  const std::filesystem::path enough = directory / "enough";
  const Clock::time_point begin = Clock::now();
  bool before = false;
  bool in_agreement = false;
  for (int i = 0; i < kMostStops && !std::filesystem::exists(enough); ++i) {
    auto part = world.split(0, 0);
    if (world.rank() == kVictim) {
      shrink_until_lost_and_stop(std::move(part), deadline,
                                 std::chrono::microseconds(2000 + 613 * i));
    } else {
      const Told told = shrink_until_told(std::move(part), deadline);
      if (!told.right) verdicts.write("stop", false, begin, kDeadline, told.message);
      before = before || told.message.find("lives to come within 500 ms") != std::string::npos;
      in_agreement =
          in_agreement || told.message.find("came to agree within 500 ms") != std::string::npos;
      meet(directory, "told-" + std::to_string(i), world.rank(), {0, 2});
      if (world.rank() == 0 && before && in_agreement) std::ofstream(enough).flush();
      if (world.rank() == 0) kill(victim, SIGCONT);
    }
    meet(directory, "awake-" + std::to_string(i), world.rank(), {0, 1, 2});
  }
  const bool right = world.rank() != 0 || (before && in_agreement);
  verdicts.write("stops", right, begin, milliseconds(120000),
                 std::string(before ? "one" : "none") + " before an agreement, " +
                     (in_agreement ? "one" : "none") + " in it");
}

void refusal(Communicator& world, Verdicts& verdicts, const std::filesystem::path& directory) {
  meet(directory, "joined", world.rank(), {0, 1, 2});
  if (world.rank() == 0) world.abort("a fresh start is wanted");
  verdicts.expect<ConfigError>("shrink", kAtOnce, {"ULFM", "--with-ft ulfm"},
                               [&] { world.shrink(kDeadline); });
  verdicts.expect<ConfigError>("replace", kAtOnce, {"share memory", "shrink() instead"},
                               [&] { world.replace(kDeadline); });
}

void run(char** argv) {
  const std::string kind = argv[1];
  const std::filesystem::path directory = argv[3];
  const RankEnv env = RankEnv::from_environment();
  World world = World::create(env, {.transport = argv[2], .timeout = kDeadline});
  Communicator& all = world.communicator();
  Ranks left;
  {
    Verdicts verdicts(directory, env.rank);
    if (kind == "deaths") deaths(all, verdicts, directory), left = {0, 2, 3, 5};
    if (kind == "meanwhile") {
      meanwhile(all, verdicts, directory, std::chrono::microseconds(std::atoi(argv[4])));
      left = {0, 2, 4, 5};
    }
    if (kind == "silence") silence(all, verdicts, directory), left = {0, 2};
    if (kind == "stops") stops(all, verdicts, directory), left = {0, 2};
    if (kind == "refusal") refusal(all, verdicts, directory), left = {0, 1, 2};
    verdicts.end();
  }
  wait_for_ends(directory, left);
  std::_Exit(0);  // MPI's exit handlers may wait for the dead
}

}  // namespace
}  // namespace muster::testing

int main(int, char** argv) {
  try {
    muster::testing::run(argv);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    std::fflush(stdout);
    std::_Exit(1);
  }
}
