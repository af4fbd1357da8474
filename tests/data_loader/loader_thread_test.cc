// What a loader does about errors, and its thread: the bound, the end, time-outs, signals.
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "data_loader/number_dataset.h"
#include "muster/base/error.h"
#include "muster/data_loader/data_loader.h"

namespace muster {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kDeadline(20);  // only ever reached by a broken loader

// Calls next() and expects an error of kind E whose message has all `parts`.
template <typename E>
void expect_error(DataLoader& loader, const std::vector<std::string>& parts) {
  try {
    loader.next();
    ADD_FAILURE() << "expected an error";
  } catch (const E& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
  }
}

NumberDataset::Hook fail_at(std::int64_t bad_id, std::function<void()> fail) {
  return [bad_id, fail = std::move(fail)](std::span<const std::int64_t> ids) {
    if (std::find(ids.begin(), ids.end(), bad_id) != ids.end()) fail();
  };
}

TEST(LoaderThreadTest, AnErrorSurfacesAtItsMicroBatchAndStays) {
  DataLoader loader(numbers(12, fail_at(7, [] { throw DataError("torn image"); })),
                    {.micro_batch = 3, .shuffle = false});
  EXPECT_EQ(loader.next().position, 0);
  EXPECT_EQ(loader.next().position, 3);
  for (int again = 0; again < 2; ++again) {
    expect_error<DataError>(loader, {"torn image", "samples 6, 7, 8", "epoch 0, position 6",
                                     "7 is the first that fails alone"});
  }
  EXPECT_EQ(loader.state(), (LoaderState{0, 6}));
  loader.restore({0, 9});
  EXPECT_EQ(loader.next().position, 9);
}

TEST(LoaderThreadTest, AnErrorKeepsItsKind) {
  const LoaderOptions options{.micro_batch = 1};
  const auto loader_that_throws = [&options](std::function<void()> fail) {
    return DataLoader(numbers(1, fail_at(0, std::move(fail))), options);
  };
  DataLoader config = loader_that_throws([] { throw ConfigError("x"); });
  expect_error<ConfigError>(config, {"cannot read sample 0 (epoch 0, position 0): x"});
  DataLoader internal = loader_that_throws([] { throw InternalError("x"); });
  expect_error<InternalError>(internal, {"sample 0"});
  DataLoader user = loader_that_throws([] { throw std::runtime_error("x"); });
  expect_error<UserError>(user, {"sample 0", ": x"});
  DataLoader foreign = loader_that_throws([] { throw 5; });
  expect_error<UserError>(foreign, {"sample 0", "no std::exception"});
  DataLoader lost = loader_that_throws([] { throw PeerLost("x"); });
  try {
    lost.next();
    FAIL() << "expected Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kPeerLost);
    EXPECT_STREQ(error.kind(), "PeerLost");
  }
}

TEST(LoaderThreadTest, LongListsOfSamplesAreCut) {
  DataLoader loader(numbers(30,
                            [](std::span<const std::int64_t> ids) {
                              if (ids.size() > 1) throw DataError("together only");
                            }),
                    {.micro_batch = 30, .shuffle = false});
  expect_error<DataError>(loader, {"samples 0, 1, 2, 3, 4, 5, 6, 7, ... (30 in all)",
                                   "each of which can be read alone"});
}

class BrokenDataset : public Dataset {
 public:
  explicit BrokenDataset(Batch batch) : batch_(std::move(batch)) {}
  std::int64_t size() const override { return 2; }
  Batch get(std::span<const std::int64_t>) const override { return batch_; }

 private:
  Batch batch_;
};

TEST(LoaderThreadTest, ADatasetThatBreaksItsContractIsNamed) {
  const auto loader_of = [](Batch batch) {
    return DataLoader(std::make_shared<BrokenDataset>(std::move(batch)),
                      {.micro_batch = 2, .shuffle = false});
  };
  DataLoader no_ids = loader_of({{{"x", at::empty({2})}}, {}});
  expect_error<UserError>(no_ids, {"Set Batch::sample_ids"});
  DataLoader other_ids = loader_of({{{"x", at::empty({2})}}, {1, 0}});
  expect_error<UserError>(other_ids, {"Set Batch::sample_ids"});
  DataLoader rows = loader_of({{{"x", at::empty({3})}}, {0, 1}});
  expect_error<UserError>(rows, {"expected 2 rows in tensor \"x\"", "found 3"});
  DataLoader undefined = loader_of({{{"x", at::Tensor()}}, {0, 1}});
  expect_error<UserError>(undefined, {"found none"});
}

// Counts calls of get(), lets the test wait for them, and can hold them back.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++calls_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void set_open(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  bool wait_for_calls(int calls, std::chrono::milliseconds time = kDeadline) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return calls_ >= calls; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int calls_ = 0;
  bool open_ = true;
};

TEST(LoaderThreadTest, TheQueueIsBounded) {
  for (const int prefetch : {1, 4}) {
    Gate gate;
    DataLoader loader(numbers(1000, [&gate](auto) { gate.pass(); }),
                      {.micro_batch = 1, .prefetch_batches = prefetch});
    ASSERT_TRUE(gate.wait_for_calls(prefetch));
    for (int delivered = 0; delivered < 20; ++delivered) {
      // A loader without a bound would be far ahead in this time.
      EXPECT_FALSE(gate.wait_for_calls(delivered + prefetch + 1, milliseconds(2)));
      loader.next();
      ASSERT_TRUE(gate.wait_for_calls(delivered + prefetch + 1)) << "room is used";
    }
  }
}

TEST(LoaderThreadTest, TheDestructorReturnsWhenTheQueueIsFull) {
  for (int round = 0; round < 50; ++round) {
    Gate gate;
    DataLoader loader(numbers(1000, [&gate](auto) { gate.pass(); }),
                      {.micro_batch = 1, .prefetch_batches = 4});
    if (round % 2 == 0) {
      ASSERT_TRUE(gate.wait_for_calls(4));
    }
  }
}

TEST(LoaderThreadTest, TheDestructorReturnsAfterAnError) {
  DataLoader loader(numbers(4, fail_at(0, [] { throw DataError("torn"); })), {.micro_batch = 4});
  expect_error<DataError>(loader, {"torn"});
}

TEST(LoaderThreadTest, AStuckDatasetIsATimeoutAndMayRecover) {
  Gate gate;
  gate.set_open(false);
  DataLoader loader(numbers(10, [&gate](auto) { gate.pass(); }),
                    {.micro_batch = 2, .timeout = milliseconds(20)});
  expect_error<Timeout>(loader, {"positions 0 to 2 of epoch 0", "20 ms", "get()"});
  gate.set_open(true);
  bool delivered = false;
  for (int attempt = 0; attempt < 1000 && !delivered; ++attempt) {
    try {
      EXPECT_EQ(loader.next().position, 0);
      delivered = true;
    } catch (const Timeout&) {
    }
  }
  EXPECT_TRUE(delivered);
}

TEST(LoaderThreadTest, TheLoadersThreadTakesNoSignals) {
  std::atomic<int> blocked = -1;
  DataLoader loader(numbers(1,
                            [&blocked](auto) {
                              sigset_t mask;
                              pthread_sigmask(SIG_BLOCK, nullptr, &mask);
                              blocked = sigismember(&mask, SIGTERM) == 1 &&
                                        sigismember(&mask, SIGINT) == 1;
                            }),
                    {.micro_batch = 1});
  loader.next();
  EXPECT_EQ(blocked, 1);
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGTERM), 0) << "the caller's mask is as it was";
}

}  // namespace
}  // namespace muster
