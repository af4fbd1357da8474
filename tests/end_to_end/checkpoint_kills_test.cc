// Saves that die, and saves whose system calls fail: what was acknowledged is there afterwards,
// with its hash. The whole of it: scripts/torture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <iostream>
#include <random>
#include <set>

#include "muster/base/error.h"
#include "subprocess.h"
#include "torture/torture_run.h"

namespace muster::testing {
namespace {

using std::chrono::microseconds;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr int kLivesOfADirectory = 25;

void kill_at_random(Life& life, int ranks, std::mt19937_64& random) {
  const int victim = static_cast<int>(random() % static_cast<std::uint64_t>(2 * ranks));
  const pid_t one = victim < ranks ? life.pid_of(victim) : 0;
  if (one > 0) {
    kill(one, SIGKILL);  // the others notice, and leave
  } else {
    life.kill_all();
  }
}

/// A directory, and lives in it that end at a random moment.
class KilledLives {
 public:
  explicit KilledLives(std::uint64_t seed)
      // A disk gives long waits to be killed in, memory many saves.
      : scratch_(seed % 2 == 0 ? memory_directory() : std::filesystem::temp_directory_path()),
        random_(seed) {
    const std::int64_t kilobytes[] = {40, 400, 4000};
    run_ = std::make_unique<TortureRun>(scratch_.path() / "checkpoints", seed,
                                        kilobytes[random_() % 3]);
    const auto begin = Clock::now();
    end(*run_->start(2, {"saves=4"}), "the first life");
    longest_ = std::chrono::duration_cast<microseconds>(Clock::now() - begin);
  }

  void live_and_die(const std::string& what) {
    const int ranks = 1 + static_cast<int>(random_() % 4);
    const auto life = run_->start(ranks, {"saves=4", "again=" + std::to_string(random_() % 2)});
    const std::uint64_t most = 2 * static_cast<std::uint64_t>(longest_.count());
    life->watch(microseconds(random_() % most));
    kill_at_random(*life, ranks, random_);
    end(*life, what);
    run_->check(what);
  }

  std::int64_t acknowledgements() const { return run_->acknowledgements(); }

 private:
  void end(Life& life, const std::string& what) {
    life.finish();
    run_->remember(life, what);
  }

  ScratchDirectory scratch_;
  std::mt19937_64 random_;
  std::unique_ptr<TortureRun> run_;
  microseconds longest_{0};
};

TEST(CheckpointTorture, KillsAtRandomTimes) {
  const std::int64_t kills = torture_setting("MUSTER_TORTURE_KILLS", 50);
  std::int64_t acknowledgements = 0;
  for (std::int64_t done = 0; done < kills && !HasFailure();) {
    const std::uint64_t seed =
        torture_seed() * 1'000'000 + static_cast<std::uint64_t>(done / kLivesOfADirectory);
    KilledLives lives(seed);
    for (int i = 0; i < kLivesOfADirectory && done < kills; ++i, ++done) {
      lives.live_and_die("seed " + std::to_string(seed) + ", kill " + std::to_string(done));
    }
    acknowledgements += lives.acknowledgements();
  }
  if (HasFailure()) return;
  std::cout << "kills: " << kills << " at random times, seed " << torture_seed() << ", "
            << acknowledgements << " steps acknowledged, none lost\n";
}

TEST(CheckpointTorture, KillsAtEveryCrashPoint) {
  const auto most = static_cast<int>(torture_setting("MUSTER_TORTURE_OCCURRENCES", 1));
  const std::vector<std::string> arguments = {"saves=3", "keep=2", "again=1"};
  std::set<std::string> names;
  std::int64_t kills = 0;
  ScratchDirectory planning(memory_directory());
  TortureRun plan(planning.path() / "checkpoints", torture_seed(), 40);
  plan.start(2, {"saves=2"})->finish();
  for (const PlannedCrash& crash : planned_crashes(plan, 2, arguments, most)) {
    for (const std::string blow : {"one", "all"}) {
      const std::string what = crash.argument(blow);
      ScratchDirectory scratch(memory_directory());
      TortureRun run(scratch.path() / "checkpoints", torture_seed(), 40);
      const auto before = run.start(2, {"saves=2"});
      ASSERT_EQ(before->finish(), 0);
      run.remember(*before, what);
      std::vector<std::string> crashing = arguments;
      crashing.push_back(what);
      const auto life = run.start(2, crashing);
      ASSERT_NE(life->finish(), 0) << what << ": expected the point to be passed";
      run.remember(*life, what);
      run.check(what);
      if (HasFailure()) return;
      names.insert(crash.name);
      ++kills;
    }
  }
  EXPECT_GE(names.size(), 25u);
  std::cout << "crash points: " << kills << " kills at " << names.size() << " named points\n";
}

/// What one failing call may do.
struct Fault {
  const char* name;
  int errno_value;  // 0: a short write
  bool from_then_on;
  bool is_an_error;  // else the save goes on
};

constexpr Fault kFaults[] = {
    {"EIO", EIO, false, true},
    {"ENOSPC", ENOSPC, false, true},
    {"EIO from then on", EIO, true, true},
    {"ENOSPC from then on", ENOSPC, true, true},
    {"EINTR", EINTR, false, false},
    {"a short write", 0, false, false},
};

class FailingCalls {
 public:
  FailingCalls()
      : run_(scratch_.path() / "checkpoints", torture_seed(), 40),
        step_by_(torture_setting("MUSTER_TORTURE_STRIDE", 11)) {
    const auto before = run_.start(2, {"saves=3"});
    EXPECT_EQ(before->finish(), 0);
    run_.remember(*before, "the first life");
    const auto listing = run_.start(2, {"saves=2", "again=1", "list=1"});
    EXPECT_EQ(listing->finish(), 0);
    run_.remember(*listing, "the listing life");
    calls_ = listing->calls();
  }

  void fail_each(const Fault& fault) {
    for (const auto& [rank, calls] : calls_) {
      for (std::int64_t call = next_; call < calls; call += step_by_) {
        fail(fault, rank, call);
        if (::testing::Test::HasFailure()) return;
      }
      next_ = (next_ + 1) % step_by_;  // in the end every call has its turn
    }
  }

  std::int64_t failed_calls() const { return failed_calls_; }
  std::int64_t failed_saves() const { return failed_saves_; }

 private:
  void fail(const Fault& fault, int rank, std::int64_t call) {
    const std::string what = std::string(fault.name) + " at call " + std::to_string(call) +
                             " of rank " + std::to_string(rank);
    const auto life = run_.start(
        2, {"saves=2", "again=1", "failures=9",
            "fail=" + std::to_string(rank) + "," + std::to_string(call) + "," +
                std::to_string(fault.errno_value) + "," + (fault.from_then_on ? "on" : "once")});
    EXPECT_EQ(life->finish(), 0) << what << ": " << ::testing::PrintToString(life->errors());
    EXPECT_EQ(life->saved().size() + life->failures().size(), 3u) << what;
    if (!fault.is_an_error) {
      EXPECT_THAT(life->failures(), ::testing::IsEmpty()) << what;
    } else if (!fault.from_then_on) {
      EXPECT_LE(life->failures().size(), 1u) << what;
    }
    for (const std::string& failure : life->failures()) {
      EXPECT_THAT(failure,
                  AnyOf(HasSubstr(errno_text(fault.errno_value)), HasSubstr("found it damaged")))
          << what;
    }
    run_.remember(*life, what);
    run_.check(what, fault.errno_value == EIO);
    ++failed_calls_;
    failed_saves_ += static_cast<std::int64_t>(life->failures().size());
  }

  ScratchDirectory scratch_{memory_directory()};
  TortureRun run_;
  std::int64_t step_by_;
  std::int64_t next_ = 0;
  std::map<int, std::int64_t> calls_;
  std::int64_t failed_calls_ = 0;
  std::int64_t failed_saves_ = 0;
};

TEST(CheckpointTorture, EverySystemCallOfASaveFails) {
  FailingCalls calls;
  for (const Fault& fault : kFaults) calls.fail_each(fault);
  EXPECT_GT(calls.failed_saves(), 0);
  if (HasFailure()) return;
  std::cout << "failing calls: " << calls.failed_calls() << " lives with one, "
            << calls.failed_saves() << " saves failed and said so, no acknowledged step lost\n";
}

}  // namespace
}  // namespace muster::testing
