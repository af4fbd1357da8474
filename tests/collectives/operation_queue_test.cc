// Order, threads and errors of queued operations, on a transport that only takes notes.
#include "operation_queue.h"

#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <future>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::ElementsAre;

// What a NotingTransport saw; outlives it.
struct Notes {
  std::mutex mutex;
  std::vector<std::int64_t> numels;
  std::vector<std::uint64_t> sequences;
  std::vector<std::thread::id> threads;
  std::vector<bool> awaited;
  bool gave_up = false;
  bool memory_in_flight = false;
  std::atomic<bool> runs{false};  // an operation of kEndsWhenAbandoned elements
  std::atomic<int> started_transfers{0};
  std::atomic<int> peer_that_ends{-1};
  std::atomic<int> peer_that_fails{-1};
  std::atomic<int> peer_that_moves{-1};
  std::promise<void> release;  // what an operation of kBlocks elements waits for
  std::shared_future<void> released{release.get_future()};
};

constexpr std::int64_t kFails = -1;
constexpr std::int64_t kBlocks = -2;
constexpr std::int64_t kBlocksUntilAbandoned = -3;
constexpr std::int64_t kEndsWhenAbandoned = -4;

class NotingTransport : public Transport {
 public:
  explicit NotingTransport(std::shared_ptr<Notes> notes) : notes_(std::move(notes)) {}

  void run(const OperationRun& run) override {
    const std::int64_t numel = run.operation().signature.numel;
    if (numel == kBlocks) notes_->released.wait();
    while (numel == kBlocksUntilAbandoned) run.check_wanted();
    if (numel == kEndsWhenAbandoned) {
      notes_->runs = true;
      EXPECT_THROW(for (;;) run.check_wanted(), PeerLost);
    }
    std::lock_guard<std::mutex> lock(notes_->mutex);
    notes_->numels.push_back(numel);
    notes_->sequences.push_back(run.sequence());
    notes_->threads.push_back(std::this_thread::get_id());
    notes_->awaited.push_back(run.awaited());
    if (numel == kFails) throw PeerLost("noted");
  }
  void greet(const OperationRun&) override {}
  void give_up(const std::exception_ptr&) noexcept override { notes_->gave_up = true; }
  bool memory_in_flight() noexcept override { return notes_->memory_in_flight; }
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override {
    return allocate_zeroed(bytes);
  }
  std::unique_ptr<Transfer> start_transfer(const OperationRun&) override;
  std::unique_ptr<Transport> split(const OperationRun&, const std::vector<std::vector<int>>&,
                                   int) override {
    return nullptr;
  }

 private:
  std::shared_ptr<Notes> notes_;
};

// Ends once the peer in the notes is allowed to.
class NotingTransfer : public Transfer {
 public:
  NotingTransfer(std::shared_ptr<Notes> notes, int peer) : notes_(std::move(notes)), peer_(peer) {}

  Turn advance(const OperationRun&) override {
    if (notes_->peer_that_moves == peer_) return Turn::kMoved;
    return notes_->peer_that_ends == peer_ ? Turn::kEnded : Turn::kIdle;
  }
  void check(const OperationRun& run) override {
    run.check_wanted();
    if (notes_->peer_that_fails == peer_) throw PeerLost("noted");
  }

 private:
  std::shared_ptr<Notes> notes_;
  int peer_;
};

std::unique_ptr<Transfer> NotingTransport::start_transfer(const OperationRun& run) {
  const int peer = run.operation().peer;
  ++notes_->started_transfers;
  return std::make_unique<NotingTransfer>(notes_, peer);
}

class OperationQueueTest : public ::testing::Test {
 protected:
  ~OperationQueueTest() override { queue_->stop(); }

  std::shared_ptr<WorkState> submit(std::int64_t numel) {
    Operation operation;
    operation.signature.numel = numel;
    return queue_->submit(std::move(operation), std::vector<at::Tensor>{});
  }

  std::shared_ptr<WorkState> send_to(int peer) {
    Operation operation;
    operation.signature.kind = OperationKind::kSend;
    operation.peer = peer;
    return queue_->submit(std::move(operation), std::vector<at::Tensor>{});
  }

  std::shared_ptr<Notes> notes_ = std::make_shared<Notes>();
  std::shared_ptr<OperationQueue> queue_ = OperationQueue::start(
      std::make_unique<NotingTransport>(notes_), "", std::chrono::milliseconds(10000));
};

TEST_F(OperationQueueTest, RunsInIssueOrderWhateverIsWaitedFor) {
  std::vector<std::shared_ptr<WorkState>> works;
  for (int i = 0; i < 5; ++i) works.push_back(submit(i));
  works[4]->wait();
  EXPECT_THAT(notes_->numels, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(notes_->sequences, ElementsAre(0u, 1u, 2u, 3u, 4u));
  for (const auto& work : works) EXPECT_TRUE(work->done());
}

TEST_F(OperationQueueTest, MakesProgressWithoutAWaiter) {
  const auto work = submit(1);
  while (!work->done()) std::this_thread::yield();
  EXPECT_NE(notes_->threads.at(0), std::this_thread::get_id());
  EXPECT_FALSE(notes_->awaited.at(0));
}

// A run knows of its waiter, who has nothing to do but to spin.
TEST_F(OperationQueueTest, TellsTheTransportThatSomebodyWaits) {
  for (int i = 0; i < 200; ++i) {
    submit(i)->wait();
    if (notes_->threads.back() == std::this_thread::get_id()) {
      EXPECT_TRUE(notes_->awaited.back());
    }
  }
}

// Naps are for transfers whose peers do not come; whoever naps leaves the core of its own will.
TEST_F(OperationQueueTest, CollectivesNeverNap) {
  const auto switches = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  };
  const long before = switches();
  for (int i = 0; i < 3000; ++i) submit(i)->wait();
  EXPECT_LT(switches() - before, 1000);
}

TEST_F(OperationQueueTest, RunsOnTheWaitersThreadWhenItComesFirst) {
  // The progress thread may be faster now and then.
  int on_this_thread = 0;
  for (int i = 0; i < 200; ++i) {
    submit(i)->wait();
    if (notes_->threads.back() == std::this_thread::get_id()) ++on_this_thread;
  }
  EXPECT_GT(on_this_thread, 0);
}

TEST_F(OperationQueueTest, DoesNotWaitForALaterOperation) {
  const auto first = submit(1);
  const auto blocked = submit(kBlocks);
  first->wait();
  EXPECT_FALSE(blocked->done());
  notes_->release.set_value();
  blocked->wait();
}

TEST_F(OperationQueueTest, KeepsTheFirstErrorForAllLaterOperations) {
  submit(1)->wait();
  const auto failing = submit(kFails);
  const auto behind = submit(2);
  EXPECT_THROW(failing->wait(), PeerLost);
  EXPECT_THROW(failing->wait(), PeerLost);
  EXPECT_THROW(behind->wait(), PeerLost);
  const auto later = submit(3);
  EXPECT_TRUE(later->done());
  EXPECT_THROW(later->wait(), PeerLost);
  EXPECT_TRUE(notes_->gave_up);
  EXPECT_THAT(notes_->numels, ElementsAre(1, kFails));
}

// A message that could not be ended may still arrive.
TEST_F(OperationQueueTest, TensorsStayForEverWhereTheirMemoryIsStillInFlight) {
  static int freed = 0;
  freed = 0;
  std::vector<float> memory(3);  // behind both
  for (const bool in_flight : {true, false}) {
    notes_->memory_in_flight = in_flight;
    const auto queue = OperationQueue::start(std::make_unique<NotingTransport>(notes_), "",
                                             std::chrono::milliseconds(10000));
    const auto submit_with_tensor = [&](std::int64_t numel) {
      Operation operation;
      operation.signature.numel = numel;
      return queue->submit(std::move(operation),
                           {at::from_blob(
                               memory.data(), {3}, [](void*) { ++freed; }, at::kFloat)});
    };
    submit_with_tensor(1)->wait();
    EXPECT_EQ(freed, 1);
    const auto failing = submit_with_tensor(kFails);
    const auto behind = submit_with_tensor(1);
    EXPECT_THROW(behind->wait(), PeerLost);
    EXPECT_EQ(freed, in_flight ? 2 : 3) << "that of the operation that never began";
    queue->stop();
    EXPECT_EQ(freed, in_flight ? 2 : 3);
    freed = 0;
  }
}

TEST_F(OperationQueueTest, AbandonsWhatHasNotEndedWhenStopped) {
  const auto running = submit(kBlocksUntilAbandoned);
  const auto behind = submit(1);
  queue_->stop();
  EXPECT_THROW(running->wait(), InternalError);
  EXPECT_THROW(behind->wait(), InternalError);
  EXPECT_THAT(notes_->numels, ElementsAre());
}

TEST_F(OperationQueueTest, EndsTransfersInAnyOrder) {
  const auto first = send_to(1);
  const auto second = send_to(2);
  const auto collective = submit(7);
  notes_->peer_that_ends = 2;
  second->wait();
  EXPECT_FALSE(first->done());
  EXPECT_THAT(notes_->numels, ElementsAre());  // the collective stands behind both
  notes_->peer_that_ends = 1;
  collective->wait();
  EXPECT_TRUE(first->done());
  EXPECT_THAT(notes_->numels, ElementsAre(7));
}

TEST_F(OperationQueueTest, BeginsATransferOnceTheOneBeforeOnItsChannelHasEnded) {
  const auto first = send_to(1);
  const auto second = send_to(1);
  EXPECT_FALSE(second->wait_for(std::chrono::milliseconds(5)));
  EXPECT_EQ(notes_->started_transfers, 1);
  notes_->peer_that_ends = 1;
  second->wait();
  EXPECT_TRUE(first->done());
  EXPECT_EQ(notes_->started_transfers, 2);
}

TEST_F(OperationQueueTest, FailsATransferWhosePeerIsLostAndAllElse) {
  const auto first = send_to(1);
  const auto second = send_to(2);
  notes_->peer_that_fails = 2;
  EXPECT_THROW(first->wait(), PeerLost);
  EXPECT_THROW(second->wait(), PeerLost);
}

// However long the data for another peer may be.
TEST_F(OperationQueueTest, NoticesALostPeerWhileAnotherTransferMoves) {
  const auto moving = send_to(1);
  const auto idle = send_to(2);
  notes_->peer_that_moves = 1;
  notes_->peer_that_fails = 2;
  EXPECT_THROW(idle->wait_for(std::chrono::seconds(10)), PeerLost);
}

TEST_F(OperationQueueTest, AnAbortWakesEveryWaiter) {
  const auto running = submit(kBlocksUntilAbandoned);
  const auto behind = submit(1);
  auto waiter = std::async(std::launch::async, [&] { EXPECT_THROW(behind->wait(), PeerLost); });
  queue_->abort("enough");
  waiter.get();
  try {
    running->wait();
    ADD_FAILURE() << "the aborted operation ended well";
  } catch (const PeerLost& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("enough"));
  }
  EXPECT_THROW(submit(2)->wait(), PeerLost);
  EXPECT_TRUE(notes_->gave_up);
}

// The one that was running had all it needed; those behind it do not begin.
TEST_F(OperationQueueTest, AnAbortDoesNotWaitForWhatStandsBehindTheRunningOperation) {
  const auto running = submit(kEndsWhenAbandoned);
  std::vector<std::shared_ptr<WorkState>> behind;
  for (int i = 0; i < 100; ++i) behind.push_back(submit(i));
  while (!notes_->runs) std::this_thread::yield();
  queue_->abort("enough");
  running->wait();
  for (const auto& work : behind) EXPECT_THROW(work->wait(), PeerLost);
  EXPECT_THAT(notes_->numels, ElementsAre(kEndsWhenAbandoned));
}

TEST_F(OperationQueueTest, AWaitWithADeadlineHarmsNothing) {
  const auto blocked = submit(kBlocks);
  EXPECT_FALSE(blocked->wait_for(std::chrono::milliseconds(1)));
  notes_->release.set_value();
  EXPECT_TRUE(blocked->wait_for(std::chrono::seconds(10)));
  const auto failing = submit(kFails);
  EXPECT_THROW(failing->wait_for(std::chrono::seconds(10)), PeerLost);
}

}  // namespace
}  // namespace muster::internal
